"""Pooling layers: of a node's S vectors, and of the nodes that an answer is read from."""

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import ModelConfig
from model.nn.dropout import Dropout
from model.tasks import Readout, TaskSpec


class NodePooling(nn.Module):
    """Aggregates the S vectors of a node into one.

    The paper names TRN; the authors' code runs an MLP on the concatenation, and so does this.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.layers = nn.Sequential(
            nn.Linear(config.vectors_per_node * config.input_size, width),
            nn.LayerNorm(width),
            nn.ReLU(),
            Dropout(config.pooling_dropout),
            nn.Linear(width, width),
            nn.LayerNorm(width),
            nn.ReLU(),
            Dropout(config.pooling_dropout),
            nn.Linear(width, width),
        )

    def forward(self, xs: Sequence[Tensor], origin: Tensor) -> Tensor:
        """Returns one vector per node, (N, D).

        Nodes with the same input are computed once, up to the first dropout.

        Args:
            xs: (M_t, S, D_in), or (M_t, 1, D_in), vectors of the distinct nodes; M in all.
            origin: (N,) distinct node of each node.
        """
        before, after = self.layers[1:3], self.layers[3:]
        runs = [torch.cat(list(run)) for _, run in groupby(xs, lambda x: x.shape[1])]
        distinct: Tensor = before(torch.cat([self._embed(run) for run in runs]))  # (M, D)
        if self.training:
            return after(distinct.index_select(0, origin))  # type: ignore[no-any-return]
        return after(distinct).index_select(0, origin)  # type: ignore[no-any-return]

    def _embed(self, x: Tensor) -> Tensor:
        """The first Linear; a vector that stands for all S takes the sum of their weights."""
        layer = self.layers[0]
        assert isinstance(layer, nn.Linear)
        weight = layer.weight
        if x.shape[1] == 1:
            weight = weight.unflatten(1, (-1, x.shape[2])).sum(dim=1)
        return F.linear(x.flatten(1), weight, layer.bias)


def select_nodes(spec: TaskSpec, features: Tensor) -> Tensor:
    """Selects the nodes of a task's answer, (G, n, D), from all its nodes, (G*N, D).

    CENTRE keeps one node a graph, FUTURE the unobserved ones, GRAPH and NODES all of them.
    """
    nodes: Tensor = features.unflatten(0, (-1, spec.num_nodes))
    if spec.readout is Readout.CENTRE:
        centre = spec.num_nodes // 2
        return nodes[:, centre : centre + 1]
    if spec.readout is Readout.FUTURE:
        return nodes[:, spec.num_segments :]
    return nodes


def pool_graph(spec: TaskSpec, nodes: Tensor) -> Tensor:
    """Takes the maximum over each graph's nodes where the answer is one per graph (Sec. 3.2).

    Args:
        spec: the task.
        nodes: (G, n, D) as `select_nodes` returns them.

    Returns:
        (G, 1, D) for GRAPH, else the input.
    """
    return nodes.amax(dim=1, keepdim=True) if spec.readout is Readout.GRAPH else nodes
