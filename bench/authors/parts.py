"""Time of each part of a training step, in both formulations."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.optim import Adam
from torch_geometric.data import Batch as GraphBatch

from bench.authors.model import AuthorsMultiTask
from model.config import FitConfig, ModelConfig
from model.data.samples import Samples
from model.nn.multitask import MultiTaskModel
from model.train.methods.losses import task_loss

Parts = dict[str, float]


class Stopwatch:
    """CPU time by name; `medians` takes the median over steps."""

    def __init__(self) -> None:
        self._steps: list[Parts] = []
        self._last = 0.0

    def start(self) -> None:
        """Begins a step."""
        self._steps.append({})
        self._last = time.process_time()

    def lap(self, name: str) -> None:
        """Records the time since the last lap."""
        now = time.process_time()
        self._steps[-1][name] = self._steps[-1].get(name, 0.0) + 1000 * (now - self._last)
        self._last = now

    def lap_after(self, name: str) -> Callable[..., None]:
        """Returns a hook that records under a name."""
        return lambda *_: self.lap(name)

    def medians(self) -> Parts:
        """Returns milliseconds a step; the first step warms up."""
        steps = self._steps[1:]
        return {name: round(statistics.median(s[name] for s in steps), 2) for name in steps[0]}


def parts_of_ours(
    samples: Mapping[str, Samples],
    config: ModelConfig,
    fit_config: FitConfig,
    num_labels: Mapping[str, int],
    *,
    steps: int,
) -> Parts:
    """Returns the times of our step's parts: the same calls as training makes."""
    model = MultiTaskModel(config, [s.spec for s in samples.values()], num_labels).train()
    optimizer = Adam(model.parameters(), fit_config.learning_rate, fused=True)
    generator = torch.Generator().manual_seed(0)
    watch = Stopwatch()
    pooling: Any = model.backbone.pooling
    pooling.register_forward_hook(watch.lap_after("pooling"))
    model.backbone.register_forward_pre_hook(watch.lap_after("union"))
    model.backbone.register_forward_hook(watch.lap_after("temporal layers"))
    for step in range(steps + 1):
        watch.start()
        which = torch.arange(fit_config.batch_size) + step
        batches = {
            task: s.draw(which % len(s), config, generator=generator) for task, s in samples.items()
        }
        watch.lap("load")
        logits = model({task: batch.inputs for task, batch in batches.items()})
        each = [
            task_loss(model.specs[task], logits[task], batch.labels, config=fit_config)
            for task, batch in batches.items()
        ]
        total = torch.stack(each).sum()
        watch.lap("heads and losses")
        _backward(watch, optimizer, total)
    return watch.medians()


def parts_of_theirs(
    model: AuthorsMultiTask,
    optimizer: Adam,
    loaders: Mapping[str, Iterator[GraphBatch]],
    *,
    steps: int,
) -> Parts:
    """Returns the times of the parts of the authors' step."""
    model.train()
    watch = Stopwatch()
    hooks = [
        model.backbone.trn.register_forward_hook(watch.lap_after("pooling")),
        model.backbone.register_forward_hook(watch.lap_after("temporal layers")),
    ]
    for _ in range(steps + 1):
        watch.start()
        losses = []
        for task, loader in loaders.items():
            batch = next(loader)
            watch.lap("load")
            losses.append(model.loss(task, batch))
            watch.lap("heads and losses")
        _backward(watch, optimizer, torch.stack(losses).sum())
    for hook in hooks:
        hook.remove()
    return watch.medians()


def _backward(watch: Stopwatch, optimizer: Adam, total: torch.Tensor) -> None:
    optimizer.zero_grad()
    total.backward()
    watch.lap("backward")
    optimizer.step()
    watch.lap("optimiser")
