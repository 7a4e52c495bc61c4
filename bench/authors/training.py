"""Training benchmark: a stage-1 epoch of all tasks, loading included, against the authors' code.

Sample counts, label spaces and sizes are Ego4D v1's; features are random, of fewer videos. Blocks
of steps alternate; an epoch is the median step times its number of steps. Before timing, logits and
losses of both are compared with the same weights and norm.
"""

import argparse
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Adam
from torch_geometric.data import Batch as GraphBatch
from tqdm import tqdm

from bench.authors.data import GraphDataset, endless
from bench.authors.model import AuthorsMultiTask
from bench.authors.parts import parts_of_ours, parts_of_theirs
from bench.duel import now, since, spread, times_faster
from bench.ego4d.tree import TreeSize
from model.config import ModelConfig
from model.data.samples import Batch, Samples, Tracks
from model.nn.multitask import MultiTaskModel
from model.nn.pooling import select_nodes
from model.tasks import TASKS, Readout, TaskSpec
from model.train.fit import FitJob
from model.train.methods.losses import task_loss
from model.train.methods.stages import train_multitask
from model.train.presets import AUTHORS

GOAL = 5.0
TOLERANCE = 1e-4
ROWS = 2000
"""Windows of a video: 18 minutes."""

SIZE = TreeSize()
NUM_LABELS = {"verb": SIZE.verbs, "noun": SIZE.nouns, "state": 2, "keyframe": 1}
COUNTS = {"ar": SIZE.actions[0], "lta": 8_000, "oscc": SIZE.changes[0], "pnr": SIZE.positives[0]}
"""Training samples; LTA's number is assumed, but only the longest task's matters."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this benchmark's flags."""
    parser.add_argument("--hidden-size", type=int, default=1024, help="default: %(default)s")
    parser.add_argument("--input-size", type=int, default=SIZE.width, help="default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=16, help="graphs a task and step")
    parser.add_argument("--videos", type=int, default=40, help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=8, help="of a block; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=4, help="blocks; default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="of both; default: %(default)s")
    parser.add_argument(
        "--workers", type=int, default=0, help="processes a loader of the authors' formulation"
    )


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Compares the numbers, then measures.

    Raises:
        ArithmeticError: the two formulations disagree.
    """
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    random.seed(0)
    config = replace(
        AUTHORS.model, input_size=arguments.input_size, hidden_size=arguments.hidden_size
    )
    samples = make_samples(arguments.videos, config.input_size)
    features = samples["ar"].tracks.features.numpy()
    arrays = {row: features[row : row + ROWS] for row in range(0, len(features), ROWS)}
    loaders = {
        task: endless(
            GraphDataset(s, arrays, config), arguments.batch_size, workers=arguments.workers
        )
        for task, s in samples.items()
    }
    theirs = AuthorsMultiTask(config, list(TASKS.values()), NUM_LABELS)
    difference = compare(theirs, loaders, config)
    fit_config = replace(AUTHORS.multitask, epochs=1, batch_size=arguments.batch_size)
    config = replace(config, norm="node")
    optimizer = Adam(theirs.parameters(), fit_config.learning_rate, weight_decay=1e-5)
    ours_s: list[tuple[float, float]] = []
    theirs_s: list[tuple[float, float]] = []
    count = arguments.steps * arguments.batch_size
    few = {task: s.take(torch.arange(len(s))[:count]) for task, s in samples.items()}
    for turn in tqdm(range(arguments.rounds + 1), desc="training", unit="round"):
        mine = our_steps(few, config, FitJob(fit_config, seed=turn, progress=False))
        other = [their_step(theirs, optimizer, loaders) for _ in range(arguments.steps)]
        if turn:
            ours_s += mine
            theirs_s += other
    times = {"ours": spread(ours_s), "authors": spread(theirs_s)}
    steps = max(COUNTS.values()) // arguments.batch_size
    by = "cpu_ms" if arguments.threads == 1 else "wall_ms"
    return {
        "sizes": {
            "hidden": config.hidden_size,
            "input": config.input_size,
            "graphs_per_task": arguments.batch_size,
            "videos": arguments.videos,
            "samples": COUNTS,
        },
        "threads": arguments.threads,
        "workers": arguments.workers,
        "greatest_difference": float(f"{difference:.2g}"),
        "step": times,
        "steps_timed": len(ours_s),
        "epoch_steps": steps,
        "epoch_min": {way: round(t[by] * steps / 60_000, 1) for way, t in times.items()},
        "ratio": times_faster(times, "ours", "authors", threads=arguments.threads),
        "goal": GOAL,
        "parts_cpu_ms": {
            "ours": parts_of_ours(few, config, fit_config, NUM_LABELS, steps=arguments.steps),
            "authors": parts_of_theirs(theirs, optimizer, loaders, steps=arguments.steps),
        },
        "gpu": "not measured",
    }


@dataclass(frozen=True, eq=False)
class Watched(Samples):
    """Samples that record the times of `draw`.

    Attributes:
        drawn: (processor, clock) seconds of every draw.
    """

    drawn: list[tuple[float, float]] = field(default_factory=list)

    def draw(self, which: Tensor, config: ModelConfig, **rules: Any) -> Batch:
        """Returns what Samples would."""
        self.drawn.append(now())
        return super().draw(which, config, **rules)


def our_steps(
    samples: dict[str, Samples], config: ModelConfig, fitting: FitJob
) -> list[tuple[float, float]]:
    """Trains one epoch of a few samples and returns the times of all steps but the last."""
    task = next(iter(samples))
    watched = Watched(**vars(samples[task]))
    train_multitask(config, {**samples, task: watched}, NUM_LABELS, fitting)
    starts = np.array(watched.drawn)
    return [(float(cpu), float(wall)) for cpu, wall in np.diff(starts, axis=0)]


def their_step(
    model: AuthorsMultiTask, optimizer: Adam, loaders: dict[str, Iterator[GraphBatch]]
) -> tuple[float, float]:
    """Trains one step, with a backbone pass per task, and returns its time."""
    started = now()
    model.train()
    optimizer.zero_grad()
    losses = [model.loss(task, next(batches)) for task, batches in loaders.items()]
    torch.stack(losses).sum().backward()
    optimizer.step()
    return since(started)


@torch.no_grad()
def compare(
    theirs: AuthorsMultiTask, loaders: dict[str, Iterator[GraphBatch]], config: ModelConfig
) -> float:
    """Returns the greatest relative difference of logits and losses on graphs of the loaders.

    Raises:
        ArithmeticError: it is not small.
    """
    ours = MultiTaskModel(config, list(TASKS.values()), NUM_LABELS).eval()
    theirs.copy_weights(ours)
    theirs.eval()
    greatest = 0.0
    for task, spec in TASKS.items():
        batch = next(loaders[task])
        nodes = batch.x.unflatten(0, (-1, spec.num_nodes))
        logits = ours({task: nodes[:, : spec.num_nodes - spec.num_future]})[task]
        labels, found = {}, theirs(task, batch)
        for name, mine in logits.items():
            other, labels[name] = _answers(spec, found[name]), _answers(spec, batch[name])
            greatest = max(greatest, _difference(mine.flatten(), other.flatten()))
        loss = task_loss(spec, logits, labels, config=AUTHORS.multitask)
        greatest = max(greatest, _difference(loss, theirs.loss(task, batch)))
    if not greatest <= TOLERANCE:
        raise ArithmeticError(f"expected the same logits and losses, they differ by {greatest:.1e}")
    return greatest


def _answers(spec: TaskSpec, values: Tensor) -> Tensor:
    """Values of nodes or graphs -> (G, n, ...) of those with an answer."""
    return values.unsqueeze(1) if spec.readout is Readout.GRAPH else select_nodes(spec, values)


def _difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / a.abs().max())


def make_samples(videos: int, width: int) -> dict[str, Samples]:
    """Returns random samples of every task, as many as v1 has, on random features."""
    generator = torch.Generator().manual_seed(0)
    tracks = Tracks(
        torch.randn(videos * ROWS, width, generator=generator),
        offset={str(v): v * ROWS for v in range(videos)},
        rows={str(v): ROWS for v in range(videos)},
    )
    return {task: _samples(spec, COUNTS[task], tracks, generator) for task, spec in TASKS.items()}


def _samples(spec: TaskSpec, count: int, tracks: Tracks, generator: torch.Generator) -> Samples:
    video = torch.randint(len(tracks.rows), (count,), generator=generator)
    start = torch.randint((ROWS - 80) * 16, (count, 1), generator=generator)
    start = start + 120 * torch.arange(spec.num_segments)  # 8 s long, 4 s apart
    steps = {Readout.FUTURE: spec.num_future}.get(spec.readout, 1)
    return Samples(
        spec,
        tracks,
        segments=torch.stack([start, start + 240], dim=-1),
        video_offset=video * ROWS,
        video_rows=torch.full((count,), ROWS),
        labels={
            name: torch.randint(NUM_LABELS[name], (count, steps), generator=generator)
            for name in spec.outputs
            if name != "keyframe"
        },
        pnr_frame=(start[:, 0] + 100).double() if "keyframe" in spec.outputs else None,
        names=[""] * count,
    )


def table(figures: dict[str, Any]) -> str:
    """Returns the figures as text."""
    by = "cpu_ms" if figures["threads"] == 1 else "wall_ms"
    step, epoch, parts = figures["step"], figures["epoch_min"], figures["parts_cpu_ms"]
    lines = [
        f"{'':<22}{'ours':>10}{'authors':>10}",
        f"{'step, ms (median)':<22}{step['ours'][by]:>10.1f}{step['authors'][by]:>10.1f}",
        f"{'epoch, minutes':<22}{epoch['ours']:>10.1f}{epoch['authors']:>10.1f}"
        f"   {figures['ratio']:.1f} x, goal >= {figures['goal']:.0f}",
    ]
    for name in dict.fromkeys([*parts["ours"], *parts["authors"]]):
        cells = [f"{of.get(name, float('nan')):>10.1f}" for of in parts.values()]
        lines.append(f"  {name:<20}{''.join(cells)}")
    greatest = f"{figures['greatest_difference']:.1e}; GPU: not measured"
    return "\n".join([*lines, f"greatest difference of logits and losses, same norm: {greatest}"])
