"""The temporal backbone shared by all tasks (paper Sec. 3.2, eqs. 1-2)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import ModelConfig
from model.distributed import mean_over_ranks, ranks_of_batch
from model.nn.graphs import GraphBatch
from model.nn.pooling import NodePooling
from weights.imports import deferred

with deferred("torch._dynamo", "torch_geometric.datasets"):
    from torch_geometric.nn import SAGEConv

NEGATIVE_SLOPE = 0.2  # of the LeakyReLU after every layer (authors' code)


def encode_positions(positions: Tensor, width: int) -> Tensor:
    """Returns sinusoidal encodings, (N, width): all sines, then all cosines, base 10000.

    Args:
        positions: (N,) integers, negative ones included.
        width: an even number.
    """
    exponents = torch.linspace(0, 1, width // 2, device=positions.device)
    angles = positions.unsqueeze(1) * torch.exp(-math.log(10_000.0) * exponents)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class BatchNorm(nn.Module):
    """Normalises over all nodes and channels of the batch, as the authors' code does.

    A sample's output then depends on the other samples of the batch, over all ranks: for imported
    checkpoints only.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Returns (N, D) with one mean and one deviation for the whole batch."""
        if ranks_of_batch().size == 1:
            centred = x - x.mean()
            deviation = centred.std(unbiased=False)
        else:
            centred = x - mean_over_ranks(x)
            deviation = mean_over_ranks(centred.square()).sqrt()
        return centred / (deviation + 1e-5) * self.weight + self.bias


class BatchSAGE(SAGEConv):  # type: ignore[misc]
    """PyG's GraphSAGE with a `GraphBatch` in place of edges: the same mean without a scatter."""

    def propagate(self, batch: GraphBatch, *, x: tuple[Tensor, Tensor], size: None) -> Tensor:
        """Returns the mean over neighbours, (N, D), of the projected nodes, x[0]."""
        return batch.mean(x[0])


class TemporalBackbone(nn.Module):
    """Turns every node's S vectors into features of its temporal neighbourhood.

    f_i = z_i + GNN(z + PE)_i with z the pooled vectors: the residual keeps the original features
    and the positions stay inside the graph branch. Each layer is GraphSAGE with a projection:

        m_i = mean over neighbours j of ReLU(W_p x_j + b_p)        (eq. 2)
        y_i = W_root x_i + W_nbr m_i + b                           (eq. 1)
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.pooling = NodePooling(config)
        self.convs = nn.ModuleList(
            BatchSAGE(width, width, project=True) for _ in range(config.num_layers)
        )
        norm = nn.LayerNorm if config.norm == "node" else BatchNorm
        self.norms = nn.ModuleList(norm(width) for _ in range(config.num_layers))
        self.last = nn.Linear(width, width) if config.final_linear else nn.Identity()
        self.passes = 0

    def forward(self, batch: GraphBatch) -> Tensor:
        """Returns the features of every node, (N, D), in one pass over all tasks' graphs."""
        self.passes += 1
        pooled: Tensor = self.pooling(batch.xs, batch.origin)  # (N, D)
        h = pooled + encode_positions(batch.positions, pooled.shape[1])
        for conv, norm in zip(self.convs, self.norms, strict=True):
            h = F.leaky_relu(norm(conv(h, batch)), NEGATIVE_SLOPE)
        return pooled + self.last(h) if len(self.convs) else pooled
