"""Temporal graphs: which nodes of a task talk to each other, for any number of graphs at once.

Every graph of a task has the same shape, so a batch is the template's edges shifted; graphs of
different tasks join into one disjoint union that the backbone passes once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.config import ModelConfig
from model.segments import add_future
from model.tasks import TaskSpec


@dataclass(frozen=True, eq=False)
class Union:
    """Disjoint union of temporal graphs.

    Attributes:
        x: (N, S, D_in) vectors of every node.
        positions: (N,) temporal position of every node in its graph.
        edge_index: (2, E) int64, messages flow from row 0 to row 1.
        slices: task -> its nodes in x.
    """

    x: Tensor
    positions: Tensor
    edge_index: Tensor
    slices: dict[str, slice]


def build_edges(spec: TaskSpec, config: ModelConfig) -> Tensor:
    """Returns the edges of one graph, (2, E), sources first.

    Nodes closer than the task's reach are joined both ways; observed nodes also reach every
    future node (supplement A.1), whatever the labels are: all of them, or the last alone.
    """
    node = torch.arange(spec.num_nodes)
    distance = (node.unsqueeze(0) - node.unsqueeze(1)).abs()
    joined = (distance <= spec.reach) & (distance > 0)  # joined[source, target]
    if spec.num_future:
        first = 0 if config.future_edges == "all" else spec.num_segments - 1
        joined[first : spec.num_segments, spec.num_segments :] = True
    return joined.nonzero().T.contiguous()


def build_union(inputs: Sequence[tuple[TaskSpec, Tensor]], config: ModelConfig) -> Union:
    """Joins the graphs of several tasks.

    Args:
        config: which edges lead to the future.
        inputs: per task its spec and the observed nodes, (G, num_segments or num_nodes, S, D_in);
            future nodes are added here.
    """
    xs, positions, edges, slices = [], [], [], {}
    offset = 0
    for spec, observed in inputs:
        nodes = add_future(spec, observed)  # (G, N, S, D_in)
        graphs, per_graph = nodes.shape[:2]
        start = torch.arange(graphs, device=nodes.device) * per_graph + offset
        template = build_edges(spec, config).to(nodes.device)
        edges.append((template.unsqueeze(1) + start.view(1, -1, 1)).flatten(1))  # (2, G*E)
        place = torch.arange(per_graph, device=nodes.device) + spec.first_position
        positions.append(place.repeat(graphs))
        xs.append(nodes.flatten(0, 1))
        slices[spec.name] = slice(offset, offset + graphs * per_graph)
        offset += graphs * per_graph
    return Union(torch.cat(xs), torch.cat(positions), torch.cat(edges, dim=1), slices)
