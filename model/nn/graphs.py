"""Temporal graphs: edges between the nodes of a task, and disjoint unions of graphs.

All graphs of a task have the same edges, so a mean over neighbours is one small product per graph;
graphs of different tasks form one disjoint union for a single backbone pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from model.config import ModelConfig
from model.nodes import add_future
from model.tasks import TaskSpec


@dataclass(frozen=True, eq=False)
class GraphBatch:
    """Disjoint union of temporal graphs.

    Attributes:
        xs: (M_t, S, D_in) vectors of every distinct node, task by task; (M_t, 1, D_in) where one
            vector stands for all S.
        origin: (N,) distinct node of each node; a graph's future nodes share one.
        positions: (N,) temporal position of every node in its graph.
        means: task -> (n, n) matrix of the neighbour means in one graph.
        sizes: task -> number of its nodes, in order.
    """

    xs: tuple[Tensor, ...]
    origin: Tensor
    positions: Tensor
    means: dict[str, Tensor]
    sizes: dict[str, int]

    def split(self, nodes: Tensor) -> dict[str, Tensor]:
        """Splits values of all nodes, (N, D), into graphs, task -> (G, n, D)."""
        parts = zip(self.means.items(), nodes.split(list(self.sizes.values())), strict=True)
        return {task: part.unflatten(0, (-1, len(mean))) for (task, mean), part in parts}

    def mean(self, messages: Tensor) -> Tensor:
        """Returns each node's mean over its neighbours (eq. 2), zero where it has none, (N, D)."""
        means = [self.means[task] @ part for task, part in self.split(messages).items()]
        return torch.cat([part.flatten(0, 1) for part in means])


def build_edges(spec: TaskSpec, config: ModelConfig) -> Tensor:
    """Returns the edges of one graph, (2, E), sources first.

    Nodes closer than the task's reach are joined both ways; observed nodes, all or the last alone,
    also have an edge to every future node (supplement A.1).
    """
    node = torch.arange(spec.num_nodes)
    distance = (node.unsqueeze(0) - node.unsqueeze(1)).abs()
    joined = (distance <= spec.reach) & (distance > 0)  # joined[source, target]
    if spec.num_future:
        first = 0 if config.future_edges == "all" else spec.num_segments - 1
        joined[first : spec.num_segments, spec.num_segments :] = True
    return joined.nonzero().T.contiguous()


@lru_cache(maxsize=256)
def build_mean(
    spec: TaskSpec, config: ModelConfig, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Returns the matrix, (n, n), whose row i averages over the neighbours of node i.

    Made once for a task, as the copy to a device waits for it.
    """
    with torch.inference_mode(False):  # training may be the next to read it
        source, target = build_edges(spec, config)
        adjacency = torch.zeros(spec.num_nodes, spec.num_nodes)
        adjacency[target, source] = 1
        mean = adjacency / adjacency.sum(dim=1, keepdim=True).clamp(min=1)
        return mean.to(device, dtype)


def build_union(inputs: Sequence[tuple[TaskSpec, Tensor]], config: ModelConfig) -> GraphBatch:
    """Joins the graphs of several tasks.

    Args:
        config: rule of the edges to future nodes.
        inputs: per task its spec and the observed nodes, (G, num_segments or num_nodes, S, D_in),
            or one vector per node in place of S; future nodes are added here.
    """
    xs, origins, positions, means, sizes = [], [], [], {}, {}
    offset = 0
    for spec, observed in inputs:
        distinct = add_future(spec, observed)  # (G, m, S, D_in)
        graphs, per_graph = distinct.shape[:2]
        first = torch.arange(graphs, device=distinct.device) * per_graph + offset
        node = torch.arange(spec.num_nodes, device=distinct.device)
        origins.append((first.unsqueeze(1) + node.clamp(max=per_graph - 1)).flatten())
        positions.append((node + spec.first_position).repeat(graphs))
        xs.append(distinct.flatten(0, 1))
        means[spec.name] = build_mean(spec, config, distinct.dtype, distinct.device)
        sizes[spec.name] = graphs * spec.num_nodes
        offset += graphs * per_graph
    return GraphBatch(tuple(xs), torch.cat(origins), torch.cat(positions), means, sizes)
