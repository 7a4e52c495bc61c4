"""Data-parallel backward pass: the shards of a batch side by side on cores and ranks."""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TypeVar

import torch
from torch import Tensor, nn

from model.distributed import ALONE, World

ShardT = TypeVar("ShardT")


def sharded_backward(
    module: nn.Module, loss: Callable[[ShardT], Tensor], pool: Executor, world: World = ALONE
) -> Callable[[Sequence[ShardT]], Tensor]:
    """Returns what sets a batch's gradients: the mean over its shards, computed side by side.

    The gradients do not depend on the number of threads. A batch has a fixed number of shards, so
    ranks beyond that number have nothing to do.

    Args:
        module: its parameters get gradients.
        loss: scalar loss of a shard; called in several threads at once, so it must draw nothing
            from the global generator.
        pool: where shards are computed.
        world: who computes which shards of a batch.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]

    def gradients(shard: ShardT) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        value = loss(shard)
        return value.detach(), torch.autograd.grad(value, parameters, allow_unused=True)

    def backward(shards: Sequence[ShardT]) -> Tensor:
        own = shards[world.part(len(shards))]
        results = list(pool.map(gradients, own or shards[:1]))
        count = len(shards) if own else math.inf  # a shard of another rank counts nothing
        for i, parameter in enumerate(parameters):
            found = [g for _, of_shard in results if (g := of_shard[i]) is not None]
            parameter.grad = torch.stack(found).sum(dim=0) / count if found else None
        return world.add_gradients(module, torch.stack([v for v, _ in results]).sum() / count)

    return backward
