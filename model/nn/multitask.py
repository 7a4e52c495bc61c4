"""Multi-task model: a shared backbone with a head per task (paper Sec. 3.2)."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from model.config import ModelConfig
from model.nn.backbone import TemporalBackbone
from model.nn.graphs import build_union
from model.nn.heads import Classifier, Perspective
from model.nn.pooling import pool_graph, select_nodes
from model.tasks import TaskSpec


class MultiTaskModel(nn.Module):
    """A shared temporal backbone with one head per known task.

    Attributes:
        specs: the known tasks.
        heads: task -> perspective.
    """

    def __init__(
        self, config: ModelConfig, specs: Sequence[TaskSpec], num_labels: Mapping[str, int]
    ) -> None:
        super().__init__()
        self.config = config
        self.num_labels = dict(num_labels)
        self.specs = {spec.name: spec for spec in specs}
        self.backbone = TemporalBackbone(config)
        self.heads = nn.ModuleDict({name: Perspective(config.hidden_size) for name in self.specs})
        self.classifiers = nn.ModuleDict(
            {
                spec.name: Classifier(
                    config.hidden_size,
                    {output: num_labels[output] for output in spec.outputs},
                    dropout=config.head_dropout,
                )
                for spec in specs
            }
        )

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """Returns logits of every task given, task -> output -> (G, n, Y), in one pass.

        Args:
            inputs: task -> observed nodes, (G, num_segments, S, D_in) (all nodes for OSCC, PNR).
        """
        features = self.features(inputs)
        logits = {}
        for task, nodes in features.items():
            spec = self.specs[task]
            view = self.heads[task](select_nodes(spec, nodes))
            logits[task] = self.classifiers[task](pool_graph(spec, view))
        return logits

    def features(
        self, inputs: Mapping[str, Tensor], *, specs: Mapping[str, TaskSpec] | None = None
    ) -> dict[str, Tensor]:
        """Returns backbone features, task -> (G*N, D), of all tasks in one pass.

        With `norm="batch"` each task has a pass of its own, so that its statistics are of one
        task's graphs, as in the authors' code.

        Args:
            inputs: task -> observed nodes.
            specs: of the tasks in `inputs`; None takes those of the known tasks.
        """
        known = self.specs if specs is None else specs
        graphs = [(known[task], nodes) for task, nodes in inputs.items()]
        if self.config.norm == "batch":
            return {s.name: self.backbone(build_union([(s, x)], self.config)) for s, x in graphs}
        union = build_union(graphs, self.config)
        features = union.split(self.backbone(union))
        return {task: nodes.flatten(0, 1) for task, nodes in features.items()}

    def perspectives(self, features: Tensor) -> dict[str, Tensor]:
        """Returns every known task's perspective on features, task -> (..., D)."""
        return {task: head(features) for task, head in self.heads.items()}
