"""One optimisation loop for every stage: Adam, warm-up, cosine, a checkpoint each epoch.

Randomness is drawn anew at the start of every epoch from (seed, epoch), so a run that was killed
and resumed ends with the weights of a run that was not. Asked to end, a run stops at the next step,
on all ranks at the same one, and goes on from there, with any number of ranks.
"""

import logging
import math
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from model.config import FitConfig
from model.distributed import ALONE, World
from model.errors import Stopped

logger = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

BatchT = TypeVar("BatchT")


@dataclass(frozen=True)
class FitJob:
    """One training to carry out.

    Attributes:
        config: how long and how fast.
        seed: of everything random.
        checkpoint: where an unfinished run is kept; None keeps nothing.
        device: where to train.
        progress: shows a bar.
        world: who trains together.
    """

    config: FitConfig
    seed: int
    checkpoint: Path | None = None
    device: str = "cpu"
    progress: bool = True
    world: World = ALONE


@dataclass
class TrainState:
    """Where a training stands.

    Attributes:
        epoch: epochs finished.
        losses: of the steps taken since, one each.
        coins: states of each rank's global generators, from which dropout is drawn; empty between
            epochs, when they are seeded anew.
    """

    epoch: int = 0
    losses: list[Tensor] = field(default_factory=list)
    coins: list[list[Tensor]] = field(default_factory=list)


def fit(
    module: nn.Module,
    batches: Callable[[torch.Generator], Iterator[BatchT]],
    backward: Callable[[BatchT], Tensor],
    fitting: FitJob,
    *,
    steps_per_epoch: int,
    label: str,
    max_norm: float | None = None,
) -> None:
    """Trains the parameters of `module` that want a gradient, in place.

    Args:
        module: what is trained; left in eval mode.
        batches: one epoch of batches, this rank's parts of them, drawn from the generator given.
        backward: sets the gradients of a whole batch, on every rank the same, and returns its
            loss; see `backward_of`.
        fitting: how; a checkpoint is resumed from and written after each epoch.
        steps_per_epoch: number of batches `batches` yields.
        label: name on the progress bar.
        max_norm: gradients are clipped to this norm.

    Raises:
        Stopped: a signal ended the run; its checkpoint is written.
        RanksLost: another rank ended.
    """
    config, world = fitting.config, fitting.world
    optimizer = _optimizer(module, config)
    at = _resume(module, optimizer, fitting)
    total = config.epochs * steps_per_epoch
    bar = tqdm(
        total=total,
        initial=at.epoch * steps_per_epoch + len(at.losses),
        desc=label,
        unit="step",
        mininterval=1.0,
        disable=not (fitting.progress and world.is_first),
    )
    with (
        bar,
        world.sharing_batches(),
        deferred_signals(active=fitting.checkpoint is not None) as request,
    ):
        while at.epoch < config.epochs:
            module.train()
            for batch in _rest_of_epoch(batches, at, fitting):
                step = at.epoch * steps_per_epoch + len(at.losses)
                _set_rate(optimizer, config, at.epoch, step, steps_per_epoch)
                optimizer.zero_grad(set_to_none=True)
                value = backward(batch)
                if max_norm is not None:
                    nn.utils.clip_grad_norm_(module.parameters(), max_norm)
                optimizer.step()
                at.losses.append(value)
                bar.update()
                if fitting.checkpoint is not None and (
                    signum := world.all_reduce_max(request.signum)
                ):
                    request.is_handled = True
                    at.coins = world.gather(_rng_states(fitting.device))
                    _write(module, optimizer, fitting, at)
                    world.wait()
                    raise Stopped(signum, label, step + 1, total)
            mean = torch.stack(at.losses).mean().item()
            at = TrainState(at.epoch + 1)
            bar.set_postfix(epoch=f"{at.epoch}/{config.epochs}", loss=f"{mean:.3f}")
            logger.debug("%s: epoch %d of %d, loss %.9g", label, at.epoch, config.epochs, mean)
            _write(module, optimizer, fitting, at)
    module.eval()


def precision(fitting: FitJob) -> torch.autocast:
    """Returns the context a forward pass runs in: float32, or bfloat16 products on a GPU."""
    kind = torch.device(fitting.device).type
    is_mixed = kind == "cuda" and fitting.config.precision == "mixed"
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=is_mixed)


def backward_of(
    loss: Callable[[BatchT], Tensor], module: nn.Module, world: World = ALONE
) -> Callable[[BatchT], Tensor]:
    """Returns what computes a batch's gradients from its scalar loss, in one piece.

    Args:
        loss: of this rank's part of a batch; all parts' add up to the batch's.
        module: what is trained.
        world: who computes the other parts.
    """

    def backward(batch: BatchT) -> Tensor:
        value = loss(batch)
        value.backward()
        return world.add_gradients(module, value.detach())

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


def reshuffled(count: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yields `shuffled` batches without end: in another order each time all were seen."""
    while True:
        yield from shuffled(count, batch_size, generator)


def _optimizer(module: nn.Module, config: FitConfig) -> torch.optim.Optimizer:
    parameters = [p for p in module.parameters() if p.requires_grad]
    kind = torch.optim.AdamW if config.decoupled_decay else torch.optim.Adam
    return kind(  # fused: all parameters in one sweep, not ten operations on each
        parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )


def _set_rate(
    optimizer: torch.optim.Optimizer, config: FitConfig, epoch: int, step: int, steps: int
) -> None:
    """Sets the rate of a step, counted from the start, in an epoch of so many steps."""
    moved = step if config.schedule == "step" else epoch * steps
    factor = learning_rate_factor(moved, config.warmup_epochs * steps, config.epochs * steps)
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate * factor


def _rest_of_epoch(
    batches: Callable[[torch.Generator], Iterator[BatchT]], at: TrainState, fitting: FitJob
) -> Iterator[BatchT]:
    """Yields the epoch's batches but those done; every rank draws the same and tosses its own."""
    rank = fitting.world.rank
    rest = batches(_reseed(fitting.seed, at.epoch, rank))
    for _ in at.losses:
        next(rest)
    if rank < len(at.coins):
        _set_coins(at.coins[rank], fitting.device)
    yield from rest


def _reseed(seed: int, epoch: int, rank: int) -> torch.Generator:
    mixed = random.Random(f"{seed}/{epoch}").getrandbits(48)
    torch.manual_seed(mixed + 2 * rank)  # dropout
    return torch.Generator().manual_seed(mixed + 1)


def _rng_states(device: str) -> list[Tensor]:
    on_gpu = [torch.cuda.get_rng_state(device)] if device != "cpu" else []
    return [torch.get_rng_state(), *on_gpu]


def _set_coins(coins: list[Tensor], device: str) -> None:
    torch.set_rng_state(coins[0])
    if device != "cpu" and len(coins) > 1:
        torch.cuda.set_rng_state(coins[1], device)


def _resume(module: nn.Module, optimizer: torch.optim.Optimizer, fitting: FitJob) -> TrainState:
    """Every rank goes on from what the first one reads: nobody else need see the file."""
    checkpoint = fitting.checkpoint

    def read() -> dict[str, Any] | None:
        if checkpoint is None or not checkpoint.is_file():
            return None
        return dict(torch.load(checkpoint, weights_only=True, map_location="cpu"))

    state = fitting.world.once(read)
    if checkpoint is None or state is None:
        return TrainState()
    module.load_state_dict(state["module"])
    optimizer.load_state_dict(state["optimizer"])
    losses = [value.to(fitting.device) for value in state.get("losses", [])]
    at = TrainState(state["epoch"], losses, state.get("coins", []))
    logger.info("resumed %s after epoch %d and %d steps", checkpoint.name, at.epoch, len(at.losses))
    return at


def _write(
    module: nn.Module, optimizer: torch.optim.Optimizer, fitting: FitJob, at: TrainState
) -> None:
    checkpoint = fitting.checkpoint
    if checkpoint is None or not fitting.world.is_first:
        return
    state = {"module": module.state_dict(), "optimizer": optimizer.state_dict(), **vars(at)}
    part = checkpoint.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, checkpoint)


class StopRequest:
    """The first of `STOP_SIGNALS` that came, or 0; a run that stops for it sets `is_handled`."""

    def __init__(self) -> None:
        self.signum = 0
        self.is_handled = False

    def _note(self, signum: int, _: FrameType | None) -> None:
        self.signum = self.signum or signum


@contextmanager
def deferred_signals(*, active: bool = True) -> Iterator[StopRequest]:
    """Defers SIGTERM and SIGINT; one that was not handled takes effect at the end.

    Without `active`, and outside the main thread, where Python allows no handler, nothing changes.
    """
    request = StopRequest()
    if not active or threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {signum: signal.signal(signum, request._note) for signum in STOP_SIGNALS}
    try:
        yield request
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
    if request.signum and not request.is_handled:
        os.kill(os.getpid(), request.signum)
