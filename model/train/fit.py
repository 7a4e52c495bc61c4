"""Training loop of every stage: Adam, warm-up, cosine schedule, a checkpoint each epoch.

All random generators are reseeded at the start of every epoch from (seed, epoch), so a run that was
killed and resumed ends with the weights of an uninterrupted one. On SIGTERM or SIGINT all ranks
stop after the same step, and the next run resumes there, with any number of ranks.
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
from weights.storage.atomic import atomic_path

logger = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

BatchT = TypeVar("BatchT")


@dataclass(frozen=True)
class FitJob:
    """One training to carry out.

    Attributes:
        config: hyper-parameters of the optimisation.
        seed: for all random generators.
        checkpoint: file of the last saved state; None saves none.
        device: "cpu", "cuda" or "cuda:N".
        progress: shows a progress bar.
        world: the ranks that train together.
    """

    config: FitConfig
    seed: int
    checkpoint: Path | None = None
    device: str = "cpu"
    progress: bool = True
    world: World = ALONE


@dataclass
class TrainState:
    """Progress of a training.

    Attributes:
        epoch: epochs finished.
        losses: of the steps taken since, one each.
        rng_states: of each rank's global generators, from which dropout is drawn; empty between
            epochs, when they are reseeded.
    """

    epoch: int = 0
    losses: list[Tensor] = field(default_factory=list)
    rng_states: list[list[Tensor]] = field(default_factory=list)


def fit(
    module: nn.Module,
    batches: Callable[[torch.Generator], Iterator[BatchT]],
    backward: Callable[[BatchT], Tensor],
    job: FitJob,
    *,
    steps_per_epoch: int,
    label: str,
    max_norm: float | None = None,
) -> None:
    """Trains the parameters of `module` that require a gradient, in place.

    Args:
        module: left in eval mode.
        batches: yields this rank's part of every batch of an epoch, drawn from the generator.
        backward: sets the gradients of the whole batch, the same on every rank, and returns its
            loss; see `backward_of`.
        job: its checkpoint is resumed from, and written after each epoch.
        steps_per_epoch: number of batches `batches` yields.
        label: name on the progress bar.
        max_norm: gradients are clipped to this norm.

    Raises:
        Stopped: a signal ended the run; its checkpoint is written.
        RanksLost: another rank ended.
    """
    config, world = job.config, job.world
    optimizer = _optimizer(module, config)
    at = _resume(module, optimizer, job)
    total = config.epochs * steps_per_epoch
    done = at.epoch * steps_per_epoch + len(at.losses)
    hidden = not (job.progress and world.is_first)
    with (
        tqdm(
            total=total, initial=done, desc=label, unit="step", mininterval=1.0, disable=hidden
        ) as bar,
        world.sharing_batches(),
        deferred_signals(active=job.checkpoint is not None) as request,
    ):
        while at.epoch < config.epochs:
            module.train()
            for batch in _rest_of_epoch(batches, at, job):
                step = at.epoch * steps_per_epoch + len(at.losses)
                _set_rate(optimizer, config, at.epoch, step, steps_per_epoch)
                optimizer.zero_grad(set_to_none=True)
                at.losses.append(backward(batch))
                if max_norm is not None:
                    nn.utils.clip_grad_norm_(module.parameters(), max_norm)
                optimizer.step()
                bar.update()
                if job.checkpoint is not None and (signum := world.all_reduce_max(request.signum)):
                    request.is_handled = True
                    at.rng_states = world.gather(_rng_states(job.device))
                    _save(module, optimizer, job, at)
                    world.wait()
                    raise Stopped(signum, label, step + 1, total)
            mean = torch.stack(at.losses).mean().item()
            at = TrainState(at.epoch + 1)
            bar.set_postfix(epoch=f"{at.epoch}/{config.epochs}", loss=f"{mean:.3f}")
            logger.debug("%s: epoch %d of %d, loss %.9g", label, at.epoch, config.epochs, mean)
            _save(module, optimizer, job, at)
    module.eval()


def precision(job: FitJob) -> torch.autocast:
    """Returns the autocast context of a forward pass: float32, or bfloat16 products on a GPU."""
    kind = torch.device(job.device).type
    is_mixed = kind == "cuda" and job.config.precision == "mixed"
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=is_mixed)


def backward_of(
    loss: Callable[[BatchT], Tensor], module: nn.Module, world: World = ALONE
) -> Callable[[BatchT], Tensor]:
    """Returns a backward pass through a scalar loss, with gradients summed over all ranks.

    Args:
        loss: of this rank's part of a batch; those of all parts add up to the batch's.
        module: whose gradients are set.
        world: the ranks that share a batch.
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
    """Yields `shuffled` batches without end, in a new order on every pass."""
    while True:
        yield from shuffled(count, batch_size, generator)


def _optimizer(module: nn.Module, config: FitConfig) -> torch.optim.Optimizer:
    parameters = [p for p in module.parameters() if p.requires_grad]
    kind = torch.optim.AdamW if config.decoupled_decay else torch.optim.Adam
    return kind(  # fused: one kernel for all parameters, not ten operations on each
        parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )


def _set_rate(
    optimizer: torch.optim.Optimizer, config: FitConfig, epoch: int, step: int, steps: int
) -> None:
    """Sets the learning rate of a step, counted from the start, with `steps` in an epoch."""
    moved = step if config.schedule == "step" else epoch * steps
    factor = learning_rate_factor(moved, config.warmup_epochs * steps, config.epochs * steps)
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate * factor


def _rest_of_epoch(
    batches: Callable[[torch.Generator], Iterator[BatchT]], at: TrainState, job: FitJob
) -> Iterator[BatchT]:
    """Yields the batches of an epoch that are left; ranks share batches but not dropout masks."""
    rank = job.world.rank
    rest = batches(_reseed(job.seed, at.epoch, rank))
    for _ in at.losses:
        next(rest)
    if rank < len(at.rng_states):
        _set_rng_states(at.rng_states[rank], job.device)
    yield from rest


def _reseed(seed: int, epoch: int, rank: int) -> torch.Generator:
    mixed = random.Random(f"{seed}/{epoch}").getrandbits(48)
    torch.manual_seed(mixed + 2 * rank)  # dropout
    return torch.Generator().manual_seed(mixed + 1)


def _rng_states(device: str) -> list[Tensor]:
    on_gpu = [torch.cuda.get_rng_state(device)] if device != "cpu" else []
    return [torch.get_rng_state(), *on_gpu]


def _set_rng_states(states: list[Tensor], device: str) -> None:
    torch.set_rng_state(states[0])
    if device != "cpu" and len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)


def _resume(module: nn.Module, optimizer: torch.optim.Optimizer, job: FitJob) -> TrainState:
    """Loads the checkpoint on the first rank, and broadcasts it to the others."""
    checkpoint = job.checkpoint

    def read() -> dict[str, Any] | None:
        if checkpoint is None or not checkpoint.is_file():
            return None
        return dict(torch.load(checkpoint, weights_only=True, map_location="cpu"))

    state = job.world.once(read)
    if checkpoint is None or state is None:
        return TrainState()
    module.load_state_dict(state["module"])
    optimizer.load_state_dict(state["optimizer"])
    losses = [value.to(job.device) for value in state.get("losses", [])]
    at = TrainState(state["epoch"], losses, state.get("coins", []))
    logger.info("resumed %s after epoch %d and %d steps", checkpoint.name, at.epoch, len(at.losses))
    return at


def _save(module: nn.Module, optimizer: torch.optim.Optimizer, job: FitJob, at: TrainState) -> None:
    if job.checkpoint is None or not job.world.is_first:
        return
    state = {
        "module": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "epoch": at.epoch,
        "losses": at.losses,
        "coins": at.rng_states,  # as older checkpoints call it
    }
    with atomic_path(job.checkpoint) as temporary:
        torch.save(state, temporary)


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
