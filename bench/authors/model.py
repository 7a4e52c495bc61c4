"""Baseline model: the authors' formulation, reimplemented from its description.

One graph object per sample, one backbone pass per task, a norm over all nodes and channels of the
batch, and message passing over the whole graph of prototypes and features. It shares weights with
the model package, and no code.
"""

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric.data import Batch
from torch_geometric.nn import LayerNorm, SAGEConv, global_max_pool
from torch_geometric.utils import add_self_loops

from model.config import ModelConfig
from model.nn.multitask import MultiTaskModel
from model.nn.skill import Skill
from model.tasks import Readout, TaskSpec

OUR_NAMES = (
    (r"pooling\.layers", "trn"),
    (r"^voters", "classifiers"),
    (r"\.outputs\.", "."),
    (r"layers\.(\d+)\.neighbours", r"convs.\1.lin_l"),
    (r"layers\.(\d+)\.root", r"convs.\1.lin_r"),
    (r"layers\.(\d+)\.refine", r"outs.\1"),
    (r"(^heads\.\w+)\.layers", r"\1"),
)
"""What our parts are called -> what theirs are."""


def _renamed(state: Mapping[str, Tensor], rules: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
    for pattern, name in rules:
        state = {re.sub(pattern, name, key): tensor for key, tensor in state.items()}
    return dict(state)


def two_layers(width: int) -> nn.Sequential:
    """The MLP of a head: Linear, LayerNorm, ReLU, Linear."""
    return nn.Sequential(
        nn.Linear(width, width), nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, width)
    )


class Outputs(nn.ModuleDict):
    """The linear classifiers of a task, one per output."""

    def forward(self, view: Tensor) -> dict[str, Tensor]:
        """Returns logits, output -> (..., Y)."""
        return {name: layer(view) for name, layer in self.items()}


def outputs_of(spec: TaskSpec, width: int, num_labels: Mapping[str, int]) -> Outputs:
    """Returns untrained classifiers of a task."""
    return Outputs({name: nn.Linear(width, num_labels[name]) for name in spec.outputs})


class AuthorsBackbone(nn.Module):
    """Pools a node's vectors and runs GraphSAGE over the edges, normalising over the batch."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, drop = config.hidden_size, config.pooling_dropout
        self.trn = nn.Sequential(
            nn.Linear(config.vectors_per_node * config.input_size, width),
            nn.LayerNorm(width), nn.ReLU(), nn.Dropout(drop),
            nn.Linear(width, width),
            nn.LayerNorm(width), nn.ReLU(), nn.Dropout(drop),
            nn.Linear(width, width),
        )  # fmt: skip
        depth = range(config.num_layers)
        self.convs = nn.ModuleList(SAGEConv(width, width, project=True) for _ in depth)
        self.norms = nn.ModuleList(LayerNorm(width) for _ in depth)  # given no batch vector
        self.last = nn.Linear(width, width)
        exponents = torch.linspace(0, 1, width // 2)
        self.register_buffer("rates", 10_000.0**-exponents, persistent=False)
        self.passes = 0

    def forward(self, batch: Batch) -> Tensor:
        """Returns features of every node, (N, D)."""
        self.passes += 1
        z: Tensor = self.trn(batch.x.flatten(1))
        angles = batch.pos.unsqueeze(1) * self.rates
        h = z + torch.cat([angles.sin(), angles.cos()], dim=1)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            h = F.leaky_relu(norm(conv(h, batch.edge_index)), 0.2)
        features: Tensor = z + self.last(h)
        return features


class AuthorsMultiTask(nn.Module):
    """Stage 1: backbone, heads and classifiers, for one task's graphs at a time."""

    def __init__(
        self, config: ModelConfig, specs: Sequence[TaskSpec], num_labels: Mapping[str, int]
    ) -> None:
        super().__init__()
        width = config.hidden_size
        self.specs = {spec.name: spec for spec in specs}
        self.backbone = AuthorsBackbone(config)
        self.heads = nn.ModuleDict({spec.name: two_layers(width) for spec in specs})
        self.classifiers = nn.ModuleDict({s.name: outputs_of(s, width, num_labels) for s in specs})

    def forward(self, task: str, batch: Batch) -> dict[str, Tensor]:
        """Returns logits of every node, (N, Y), or of every graph where the task pools."""
        view = self.heads[task](self.backbone(batch))
        if self.specs[task].readout is Readout.GRAPH:
            view = global_max_pool(view, batch.batch)
        logits: dict[str, Tensor] = self.classifiers[task](view)
        return logits

    def loss(self, task: str, batch: Batch) -> Tensor:
        """Returns the mean over all nodes, those without a label counting as zero."""
        total = torch.zeros(())
        for name, logits in self(task, batch).items():
            if logits.shape[1] == 1:
                each = F.binary_cross_entropy_with_logits(
                    logits[:, 0], batch[name].float(), reduction="none"
                )
            else:
                each = F.cross_entropy(logits, batch[name], ignore_index=-1, reduction="none")
            total = total + each.mean()
        return total

    def copy_weights(self, ours: MultiTaskModel) -> None:
        """Copies all weights of our model."""
        self.load_state_dict(_renamed(ours.state_dict(), OUR_NAMES))


class AuthorsInteraction(nn.Module):
    """Convolves the whole graph of prototypes and features; keeps the features' outputs.

    Neighbours are found by sorting all distances, anew in every round though from the initial
    features; a round's norm and last Linear run over the prototypes too. Trimmed, it finds them
    once with a top-k and drops the prototypes right after the convolution: the same numbers.
    """

    def __init__(self, config: ModelConfig, *, trimmed: bool = False) -> None:
        super().__init__()
        self.trimmed = trimmed
        width, depth = config.hidden_size, range(config.interaction_layers)
        self.num_neighbours = config.num_neighbours
        self.convs = nn.ModuleList(SAGEConv(width, width, aggr="max", bias=False) for _ in depth)
        self.outs = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, width)) for _ in depth
        )

    def forward(self, h: Tensor, prototypes: Tensor) -> Tensor:
        """Returns (Q, D) from features (Q, D) and prototypes (P, D)."""
        count, initial, edges = len(prototypes), h, None
        for conv, out in zip(self.convs, self.outs, strict=True):
            if edges is None or not self.trimmed:
                edges = self._edges(initial, prototypes)
            whole = conv(torch.cat([prototypes, h]), edges)  # (P + Q, D)
            refined = out(whole[count:]) if self.trimmed else out(whole)[count:]
            h = h + refined
        return h

    @torch.no_grad()
    def _edges(self, h: Tensor, prototypes: Tensor) -> Tensor:
        """From each feature's closest prototypes to it, and from every node to itself, (2, E)."""
        cosine = F.normalize(h, dim=1) @ F.normalize(prototypes, dim=1).T
        if self.trimmed:
            closest = cosine.topk(self.num_neighbours, dim=1).indices  # (Q, k)
        else:
            closest = cosine.argsort(dim=1, descending=True)[:, : self.num_neighbours]
        target = torch.arange(len(h)).repeat_interleave(self.num_neighbours) + len(prototypes)
        edges = torch.stack([closest.flatten(), target])
        looped: Tensor = add_self_loops(edges, num_nodes=len(prototypes) + len(h))[0]
        return looped


class AuthorsEgoPack(nn.Module):
    """Stage 2: one novel task's model, with its own backbone."""

    def __init__(
        self, config: ModelConfig, spec: TaskSpec, known: Sequence[str], num_labels: dict[str, int]
    ) -> None:
        super().__init__()
        width = config.hidden_size
        self.spec = spec
        self.backbone = AuthorsBackbone(config)
        self.heads = nn.ModuleDict({task: two_layers(width) for task in [*known, spec.name]})
        self.interactions = nn.ModuleDict({task: AuthorsInteraction(config) for task in known})
        self.classifiers = nn.ModuleDict(
            {task: outputs_of(spec, width, num_labels) for task in self.heads}
        )

    def forward(self, batch: Batch, prototypes: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns fused logits of every node, or of every graph where the task pools."""
        features = self.backbone(batch)
        views = {self.spec.name: self.heads[self.spec.name](features)}
        for task, interaction in self.interactions.items():
            known = self.heads[task](features).detach()
            views[task] = interaction(known, prototypes[task])
        pools = self.spec.readout is Readout.GRAPH
        if pools:
            views = {task: global_max_pool(view, batch.batch) for task, view in views.items()}
        logits = [self.classifiers[task](view) for task, view in views.items()]
        votes = {name: torch.stack([one[name] for one in logits]) for name in self.spec.outputs}
        return {name: v.mean(dim=0) if pools else v.sum(dim=0) for name, v in votes.items()}

    def copy_weights(self, ours: Skill, model: MultiTaskModel) -> None:
        """Copies the weights of our skill and of its backbone."""
        known = tuple(f"heads.{task}." for task in self.interactions)
        below = {k: v for k, v in model.state_dict().items() if k.startswith(("backbone.", *known))}
        own = ((r"^head\.", f"heads.{self.spec.name}."),
               (r"^classifier\.", f"classifiers.{self.spec.name}."))  # fmt: skip
        above = _renamed(ours.state_dict(), own)
        self.load_state_dict(_renamed(below | above, OUR_NAMES))
