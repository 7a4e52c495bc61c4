"""Random samples of any task, over features that are never looked at by a metric."""

from dataclasses import replace

import torch

from model.data.samples import Samples, Tracks
from model.tasks import TASKS, Readout, TaskSpec
from tests.support.factories import D_IN, NUM_LABELS

ROWS = 40  # feature vectors of a video: windows every 16 frames


def make_samples(
    spec: TaskSpec, num: int = 12, *, videos: int = 3, seed: int = 0, num_labels=NUM_LABELS
) -> Samples:
    """Samples spread evenly over videos, with random bounds and labels."""
    g = torch.Generator().manual_seed(seed)
    names = [f"v{i}" for i in range(videos)]
    tracks = Tracks(
        torch.randn(videos * ROWS, D_IN, generator=g),
        {name: i * ROWS for i, name in enumerate(names)},
        dict.fromkeys(names, ROWS),
    )
    start = torch.randint(0, 200, (num, spec.num_segments, 1), generator=g)
    segments = torch.cat([start, start + torch.randint(150, 241, start.shape, generator=g)], -1)
    answers = spec.num_future or 1
    labels = {
        name: torch.randint(num_labels[name], (num, answers), generator=g) for name in spec.outputs
    }
    samples = Samples(
        spec,
        tracks,
        segments,
        video_offset=torch.arange(num) % videos * ROWS,
        video_rows=torch.full((num,), ROWS),
        labels=labels,
        names=[f"s{i}" for i in range(num)],
    )
    if spec.readout is not Readout.NODES:
        return samples
    inside = torch.rand(num, generator=g, dtype=torch.float64)
    low, high = segments[:, 0].double().unbind(-1)
    return replace(
        samples,
        labels={},
        pnr_frame=(low + inside * (high - low)).floor(),
        seconds=segments[:, 0].double() / 30,
    )


def make_split(num: int = 12, *, videos: int = 3, seed: int = 0) -> dict[str, Samples]:
    """Samples of all four tasks."""
    return {
        name: make_samples(spec, num, videos=videos, seed=seed + i)
        for i, (name, spec) in enumerate(TASKS.items())
    }
