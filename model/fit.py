"""One optimisation loop for every stage: Adam, warm-up, cosine, a checkpoint each epoch.

Randomness is drawn anew at the start of every epoch from (seed, epoch), so a run that was killed
and resumed ends with the weights of a run that was not.
"""

import logging
import math
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from model.config import FitConfig

logger = logging.getLogger(__name__)

BatchT = TypeVar("BatchT")


@dataclass(frozen=True)
class Fitting:
    """One training to carry out.

    Attributes:
        config: how long and how fast.
        seed: of everything random.
        checkpoint: where an unfinished run is kept; None keeps nothing.
        device: where to train.
        progress: shows a bar.
    """

    config: FitConfig
    seed: int
    checkpoint: Path | None = None
    device: str = "cpu"
    progress: bool = True


def fit(
    module: nn.Module,
    batches: Callable[[torch.Generator], Iterator[BatchT]],
    backward: Callable[[BatchT], Tensor],
    *,
    config: FitConfig,
    steps_per_epoch: int,
    seed: int,
    label: str,
    checkpoint: Path | None = None,
    max_norm: float | None = None,
    progress: bool = True,
) -> None:
    """Trains the parameters of `module` that want a gradient, in place.

    Args:
        module: what is trained; left in eval mode.
        batches: one epoch of batches, drawn from the generator given.
        backward: sets the gradients of a batch and returns its loss; see `backward_of`.
        config: how long and how fast.
        steps_per_epoch: number of batches `batches` yields.
        seed: of everything random.
        label: name on the progress bar.
        checkpoint: file to resume from and to write after each epoch; None keeps nothing.
        max_norm: gradients are clipped to this norm.
        progress: shows a bar.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    kind = torch.optim.AdamW if config.decoupled_decay else torch.optim.Adam
    optimizer = kind(  # fused: all parameters in one sweep, not ten operations on each
        parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )
    done = _resume(module, optimizer, checkpoint)
    total = config.epochs * steps_per_epoch
    warmup = config.warmup_epochs * steps_per_epoch
    step = done * steps_per_epoch
    bar = tqdm(
        total=total, initial=step, desc=label, unit="step", mininterval=1.0, disable=not progress
    )
    with bar:
        for epoch in range(done, config.epochs):
            generator = _reseed(seed, epoch)
            module.train()
            losses = []
            for batch in batches(generator):
                at = step if config.schedule == "step" else epoch * steps_per_epoch
                for group in optimizer.param_groups:
                    group["lr"] = config.learning_rate * learning_rate_factor(at, warmup, total)
                optimizer.zero_grad(set_to_none=True)
                value = backward(batch)
                if max_norm is not None:
                    nn.utils.clip_grad_norm_(parameters, max_norm)
                optimizer.step()
                losses.append(value)
                step += 1
                bar.update()
            mean = torch.stack(losses).mean().item()
            bar.set_postfix(epoch=f"{epoch + 1}/{config.epochs}", loss=f"{mean:.3f}")
            _write(module, optimizer, checkpoint, epoch + 1)
    module.eval()


def precision(device: torch.device) -> torch.autocast:
    """Returns the context a forward pass runs in: bfloat16 products on a GPU, float32 elsewhere."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


def backward_of(loss: Callable[[BatchT], Tensor]) -> Callable[[BatchT], Tensor]:
    """Returns what computes a batch's gradients from its scalar loss, in one piece."""

    def backward(batch: BatchT) -> Tensor:
        value = loss(batch)
        value.backward()
        return value.detach()

    return backward


def learning_rate_factor(step: int, warmup: float, total: int) -> float:
    """Returns the share of the peak rate at a step: linear warm-up, then cosine to zero."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1.0, total - warmup)))


def shuffled(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yields positions 0..count-1 in random order, `batch_size` at a time, none left out."""
    order = torch.randperm(count, generator=generator)
    yield from order.split(batch_size)


def _reseed(seed: int, epoch: int) -> torch.Generator:
    mixed = random.Random(f"{seed}/{epoch}").getrandbits(48)
    torch.manual_seed(mixed)  # dropout
    return torch.Generator().manual_seed(mixed + 1)


def _resume(module: nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Path | None) -> int:
    if checkpoint is None or not checkpoint.is_file():
        return 0
    state = torch.load(checkpoint, weights_only=True, map_location="cpu")
    module.load_state_dict(state["module"])
    optimizer.load_state_dict(state["optimizer"])
    logger.info("resumed %s after epoch %d", checkpoint.name, state["epoch"])
    return int(state["epoch"])


def _write(
    module: nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Path | None, epoch: int
) -> None:
    if checkpoint is None:
        return
    state = {"module": module.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}
    part = checkpoint.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, checkpoint)
