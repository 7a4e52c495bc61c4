"""Losses of the outputs: cross entropy, or binary cross entropy over nodes for one label."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from model.config import FitConfig
from model.tasks import IGNORE, Readout, TaskSpec


def output_loss(
    logits: Tensor, target: Tensor, *, smoothing: float = 0.0, share: float = 1.0
) -> Tensor:
    """Returns the mean loss over labelled nodes, a scalar; zero where there is none.

    Args:
        logits: (G, n, Y); with Y = 1 every node is a binary decision (PNR, Sec. 4.1).
        target: (G, n) label ids, IGNORE where there is none; with Y = 1, zeros, ones or IGNORE.
        smoothing: label smoothing of the cross entropy.
        share: of the batch's labels that are in this part; scales the loss, so that the losses of
            all parts add up to the batch's.
    """
    if not share:  # no labels, but parameters need a gradient as on the other ranks
        return logits.sum() * 0.0
    is_known = target != IGNORE
    count = is_known.sum().clamp(min=1)  # stays on the device: no synchronisation in a step
    if logits.shape[-1] == 1:
        rows = logits.squeeze(-1)
        weight = is_known.to(logits.dtype)
        loss = F.binary_cross_entropy_with_logits(
            rows, target.to(logits.dtype), weight=weight, reduction="sum"
        )
    else:
        loss = F.cross_entropy(
            logits.flatten(0, 1),
            target.flatten(),
            ignore_index=IGNORE,
            label_smoothing=smoothing,
            reduction="sum",
        )
    return share * loss / count


def task_loss(
    spec: TaskSpec,
    logits: dict[str, Tensor],
    labels: dict[str, Tensor],
    *,
    config: FitConfig,
    shares: Mapping[str, float] | None = None,
) -> Tensor:
    """Returns the sum of a task's output losses (AR and LTA: verb + noun).

    Args:
        spec: the task.
        logits: output -> (G, n, Y).
        labels: output -> (G, n).
        config: its label smoothing and its `node_loss` rule.
        shares: output -> share of the batch's labels that are in this part; 1 where missing.
    """
    share = shares or {}
    losses = [
        output_loss(
            logits[name],
            labels[name],
            smoothing=config.label_smoothing,
            share=share.get(name, 1.0),
        )
        for name in logits
    ]
    total = torch.stack(losses).sum()
    if config.node_loss == "labelled" or spec.readout is Readout.GRAPH:
        return total
    return total * (next(iter(logits.values())).shape[1] / spec.num_nodes)
