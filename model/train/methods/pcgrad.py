"""PCGrad: conflicting gradients of tasks on shared parameters, projected off each other.

Yu et al., "Gradient Surgery for Multi-Task Learning", NeurIPS 2020, algorithm 1 (paper Table 4).
"""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from model.distributed import ALONE, World

BatchT = TypeVar("BatchT")


def project_conflicts(gradients: Tensor, orders: list[list[int]]) -> Tensor:
    """Returns the sum of the tasks' gradients after surgery, (P,).

    Args:
        gradients: (T, P), one flat gradient a task.
        orders: for every task, the order in which it is projected off the others.
    """
    norms = gradients.square().sum(dim=1)
    repaired = gradients.clone()
    for task, others in enumerate(orders):
        for other in others:
            dot = repaired[task] @ gradients[other]
            if other != task and dot < 0:
                repaired[task] -= dot / norms[other] * gradients[other]
    return repaired.sum(dim=0)


def pcgrad_backward(
    shared: nn.Module,
    model: nn.Module,
    losses: Callable[[BatchT], Tensor],
    world: World = ALONE,
) -> Callable[[BatchT], Tensor]:
    """Returns a backward pass with gradient surgery on the shared parameters.

    The other parameters belong to one task each and get its plain gradient. Orders are drawn from
    the global generator, so a resumed run draws the same ones. Surgery is on the gradients of the
    whole batch: each task's are summed over all ranks first.

    Args:
        shared: module that all tasks use.
        model: everything trained, `shared` included.
        losses: batch -> (T,) losses.
        world: the ranks that share a batch.
    """
    common = list(shared.parameters())
    held = {id(p) for p in common}
    own = [p for p in model.parameters() if id(p) not in held]

    def backward(batch: BatchT) -> Tensor:
        each = losses(batch)
        rows = []
        for loss in each:
            found = torch.autograd.grad(loss, common, retain_graph=True, allow_unused=True)
            rows.append(torch.cat([_flat(g, p) for g, p in zip(found, common, strict=True)]))
        total = each.sum()
        for p, g in zip(own, torch.autograd.grad(total, own, allow_unused=True), strict=True):
            p.grad = g
        stacked = world.all_reduce_sum([torch.stack(rows)])[0]
        orders = world.once(lambda: [torch.randperm(len(each)).tolist() for _ in each])
        loss = world.add_gradients(model, total.detach())
        surgery = project_conflicts(stacked, orders)
        for p, g in zip(common, surgery.split([p.numel() for p in common]), strict=True):
            p.grad = g.view_as(p)
        return loss

    return backward


def _flat(gradient: Tensor | None, parameter: Tensor) -> Tensor:
    return torch.zeros_like(parameter).flatten() if gradient is None else gradient.flatten()
