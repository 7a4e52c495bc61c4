"""Task Translation baseline: a small transformer from all tasks' features to one task's logits.

The design of EgoT2-g (paper Sec. 4.2, supplement B): frozen models, a one-layer encoder over all
their tokens, a one-layer decoder. Outputs have a fixed length, so the decoder has one learnt query
per output node and linear classifiers instead of a vocabulary.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from model.data.samples import Samples
from model.nn.backbone import encode_positions
from model.nn.multitask import MultiTaskModel
from model.tasks import Readout, TaskSpec
from model.train.fit import FitJob
from model.train.methods.stages import fit_task

NUM_HEADS = 8  # supplement B
DROPOUT = 0.1  # supplement B


class Translator(nn.Module):
    """Features of several tasks, (G, N, D) each -> logits of one task."""

    def __init__(
        self, width: int, spec: TaskSpec, sources: Sequence[str], num_labels: Mapping[str, int]
    ) -> None:
        super().__init__()
        self.spec, self.sources = spec, tuple(sources)
        self.project = nn.ModuleDict(
            {s: nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width)) for s in sources}
        )
        self.source = nn.ParameterDict({s: nn.Parameter(torch.randn(width)) for s in sources})
        self.drop = nn.Dropout(DROPOUT)
        self.encoder = nn.TransformerEncoderLayer(
            width, NUM_HEADS, 2 * width, DROPOUT, batch_first=True
        )
        self.decoder = nn.TransformerDecoderLayer(
            width, NUM_HEADS, 2 * width, DROPOUT, batch_first=True
        )
        self.outputs = nn.ModuleDict({n: nn.Linear(width, num_labels[n]) for n in spec.outputs})
        self.queries = nn.Parameter(
            torch.randn(len(spec.outputs) * _num_outputs(spec), width) * 0.02
        )

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns logits, output -> (G, n, Y), from source -> (G, N, D)."""
        tokens = [self._tokens(s, features[s]) for s in self.sources]
        memory = self.encoder(torch.cat(tokens, dim=1))  # (G, sources * N, D)
        queries = self.queries.expand(len(memory), -1, -1)
        decoded = self.decoder(queries, memory).chunk(len(self.outputs), dim=1)
        return {
            name: layer(x) for (name, layer), x in zip(self.outputs.items(), decoded, strict=True)
        }

    def _tokens(self, source: str, features: Tensor) -> Tensor:
        places = torch.arange(features.shape[1], device=features.device)
        position = encode_positions(places, features.shape[2])
        tokens = self.project[source](features) + self.source[source] + position
        return self.drop(tokens)  # type: ignore[no-any-return]


class TranslatedTask(nn.Module):
    """Frozen models and the translator over them; only the translator is trained and saved."""

    def __init__(self, translator: Translator, models: Mapping[str, MultiTaskModel]) -> None:
        """Holds the models outside of `parameters` and `state_dict`.

        Args:
            translator: has one perspective of each source as its input.
            models: source -> the model whose head of that name gives its perspective.
        """
        super().__init__()
        self.translator = translator
        self._held = (dict(models),)

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        """Returns logits, output -> (G, n, Y), of observed nodes (G, n, S, D_in)."""
        logits: dict[str, Tensor] = self.translator(self._views(inputs))
        return logits

    @torch.no_grad()
    def _views(self, inputs: Tensor) -> dict[str, Tensor]:
        spec = self.translator.spec
        shared: dict[int, Tensor] = {}  # one pass of a model gives all its perspectives
        views = {}
        for source, model in self._held[0].items():
            if id(model) not in shared:
                found = model.features({spec.name: inputs}, specs={spec.name: spec})
                shared[id(model)] = found[spec.name]
            views[source] = model.heads[source](shared[id(model)]).unflatten(
                0, (-1, spec.num_nodes)
            )
        return views


def train_translation(
    models: Mapping[str, MultiTaskModel],
    spec: TaskSpec,
    samples: Samples,
    num_labels: Mapping[str, int],
    job: FitJob,
) -> TranslatedTask:
    """Returns a translator to one task, trained over frozen models.

    Args:
        models: source -> the model that gives its perspective; single-task models for Task
            Translation, one multi-task model for MTL + TT.
        spec: the target task.
        samples: its training samples.
        num_labels: label space -> classes.
        job: optimisation, seed, device and ranks.
    """
    torch.manual_seed(job.seed)
    config = next(iter(models.values())).config
    frozen = {source: model.eval().to(job.device) for source, model in models.items()}
    translator = Translator(config.hidden_size, spec, list(frozen), num_labels)
    learner = TranslatedTask(translator, frozen).to(job.device)

    fit_task(learner, spec, samples, config, job, label=f"translate to {spec.name}")
    for model in frozen.values():
        model.cpu()
    return learner.cpu().requires_grad_(False)


def _num_outputs(spec: TaskSpec) -> int:
    """Number of output nodes of a graph."""
    if spec.readout is Readout.FUTURE:
        return spec.num_future
    return spec.num_nodes if spec.readout is Readout.NODES else 1
