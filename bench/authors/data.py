"""Baseline data loading: the authors' formulation, a dataset per task, a graph object per sample.

A sample's vectors are sliced from its video's array on access; PyG's loader collates.
"""

import random
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader

from model.config import ModelConfig
from model.data.samples import Samples
from model.tasks import Readout, Sampling, TaskSpec

STRIDE = 16
Floats = NDArray[np.float32]


def graph(spec: TaskSpec, x: Tensor, labels: dict[str, Tensor], config: ModelConfig) -> Data:
    """Returns one graph object: x (n, S, D_in), positions, edges and a label per node or graph.

    Nodes up to the task's reach apart are joined, and observed ones to those of the future.
    """
    pos = torch.arange(spec.num_nodes) + spec.first_position
    apart = (pos.unsqueeze(0) - pos.unsqueeze(1)).abs()
    edges = ((apart > 0) & (apart <= spec.reach)).nonzero().T
    if spec.num_future:
        first = 0 if config.future_edges == "all" else spec.num_segments - 1
        source, target = torch.meshgrid(
            torch.arange(first, spec.num_segments),
            torch.arange(spec.num_segments, spec.num_nodes),
            indexing="ij",
        )
        ahead = torch.stack([source.flatten(), target.flatten()])
        edges = torch.cat([edges, ahead], dim=1).unique(dim=1)
    return Data(x=x, pos=pos, edge_index=edges, num_nodes=spec.num_nodes, **labels)


class GraphDataset(Dataset[Data]):
    """One task's training samples."""

    def __init__(self, samples: Samples, arrays: dict[int, Floats], config: ModelConfig) -> None:
        """Copies our samples' segments and labels.

        `arrays`: first row of a video in our matrix -> that video's features.
        """
        self.spec, self.config, self.vectors = samples.spec, config, config.vectors_per_node
        self.arrays = [arrays[offset] for offset in samples.video_offset.tolist()]
        self.segments = samples.segments.tolist()
        self.labels = samples.labels
        self.keyframes = None if samples.pnr_frame is None else samples.pnr_frame.tolist()

    def __len__(self) -> int:
        return len(self.segments)

    def __getitem__(self, index: int) -> Data:
        array, segments = self.arrays[index], self.segments[index]
        if self.keyframes is not None:
            start, end = segments[0]
            return self._instants(array, start, end, self.keyframes[index])
        if self.spec.sampling is Sampling.UNIFORM:
            x = self._subsegments(array, segments[0])
            labels = {name: values[index] for name, values in self.labels.items()}
            return graph(self.spec, x, labels, self.config)
        x = torch.stack([self._action(array, segment) for segment in segments])
        if self.spec.num_future:
            future = x.mean(dim=0, keepdim=True).repeat(self.spec.num_future, 1, 1)
            x = torch.cat([x, future])
        return graph(self.spec, x, self._node_labels(index), self.config)

    def _node_labels(self, index: int) -> dict[str, Tensor]:
        """Labels of all nodes, -1 where a node has none."""
        labels = {}
        for name, values in self.labels.items():
            labels[name] = torch.full((self.spec.num_nodes,), -1)
            if self.spec.readout is Readout.CENTRE:
                labels[name][self.spec.num_nodes // 2] = values[index, 0]
            else:
                labels[name][self.spec.num_segments :] = values[index]
        return labels

    def _action(self, array: Floats, segment: list[int]) -> Tensor:
        """One random row out of each of S equal parts of a segment, (S, D_in)."""
        start, end = segment
        first = start // STRIDE
        rows = array[first : min(len(array) - 1, end // STRIDE)]
        part = len(rows) // self.vectors
        picks = [
            q * len(rows) // self.vectors + random.randrange(max(part, 1))
            for q in range(self.vectors)
        ]
        return torch.from_numpy(rows[picks])

    def _subsegments(self, array: Floats, segment: list[int]) -> Tensor:
        """Random rows of a segment in order, (n, S, D_in)."""
        start, end = segment
        count = self.spec.num_nodes * self.vectors
        first, after = start // STRIDE, end // STRIDE
        rows = range(first, min(after, len(array)))
        picks = random.sample(rows, count) if len(rows) >= count else random.choices(rows, k=count)
        return torch.from_numpy(array[sorted(picks)]).view(self.spec.num_nodes, self.vectors, -1)

    def _instants(self, array: Floats, start: int, end: int, keyframe: float) -> Data:
        """Interpolated rows at evenly spaced frames of a random crop, each repeated S times."""
        length = random.uniform(5 * 30, 8 * 30)
        start += int(random.random() * max(0.0, end - start - length))
        start = min(start, int(keyframe))
        end = max(min(end, int(start + length)), int(keyframe) + 1)
        frames = np.linspace(start, end, self.spec.num_nodes, endpoint=False, dtype=int)
        low = np.clip(frames // STRIDE, 0, len(array) - 1)
        high = np.clip(-(-frames // STRIDE), 0, len(array) - 1)
        share = ((frames % STRIDE) / STRIDE).astype(np.float32)[:, None]
        x = torch.from_numpy((1 - share) * array[low] + share * array[high])
        label = torch.zeros(len(frames), dtype=torch.long)
        label[int(np.abs(frames - keyframe).argmin())] = 1
        x = x.unsqueeze(1).repeat(1, self.vectors, 1)
        return graph(self.spec, x, {self.spec.outputs[0]: label}, self.config)


def endless(dataset: GraphDataset, batch_size: int, workers: int) -> Iterator[Batch]:
    """Yields shuffled batches of one task, epoch after epoch."""
    loader = DataLoader(
        dataset, batch_size, shuffle=True, drop_last=True, num_workers=workers,
        persistent_workers=workers > 0,
    )  # fmt: skip
    while True:
        yield from loader
