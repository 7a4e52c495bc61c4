"""Data-parallel training under torchrun: ranks, collectives, and each rank's part of a batch.

Every rank draws every global batch, from the same seeds, and computes its part of it. Losses are
weighted so that those of all parts add up to the batch's, and gradients are all-reduced (summed)
before the optimiser step. So the number of ranks changes only the order of additions and the
dropout masks.

DistributedDataParallel does not fit: it averages ranks with equal weight, but parts are unequal
(missing labels, a short last batch); and its hooks miss gradients from `torch.autograd.grad`, as in
gradient surgery and the encoder's shards. It would overlap communication with the backward pass,
which matters little here: a step sends 4 bytes a trained parameter.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from model.errors import RanksLost, RanksWrong

T = TypeVar("T")

STEP_TIMEOUT = timedelta(minutes=10)
"""Time-out of a collective within a step; a rank that dies is noticed at once."""

WAIT_TIMEOUT = timedelta(hours=24)
"""Time-out while the others wait for work of one rank: draw a world, pack features, score."""


@dataclass(frozen=True, eq=False)
class World:
    """The process group, seen from one rank; with a single rank every method is a no-op.

    Attributes:
        rank: of this process.
        size: number of processes.
        neighbours: number of processes on this machine.
        patient: process group with `WAIT_TIMEOUT`.
    """

    rank: int = 0
    size: int = 1
    neighbours: int = 1
    patient: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this rank writes files, logs and shows progress."""
        return self.rank == 0

    def part(self, count: int) -> slice:
        """Returns this rank's contiguous part of `count` items, which may be empty."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def all_reduce_sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Returns the sums over all ranks, bit-identical on each, in one all-reduce of a buffer.

        Args:
            tensors: of one dtype and device, with the same shapes on every rank.
        """
        if self.size == 1:
            return list(tensors)
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        with self._translated():
            dist.all_reduce(flat)
        sums = flat.split([tensor.numel() for tensor in tensors])
        return [s.view_as(tensor) for s, tensor in zip(sums, tensors, strict=True)]

    def add_gradients(self, module: nn.Module, loss: Tensor) -> Tensor:
        """Sums gradients in place and a loss over all ranks; returns the summed loss.

        Args:
            module: its gradients are of this rank's part, of the same parameters on every rank.
            loss: of this rank's part, a scalar.
        """
        used = [p for p in module.parameters() if p.grad is not None]
        *sums, total = self.all_reduce_sum([*(p.grad for p in used if p.grad is not None), loss])
        for parameter, gradient in zip(used, sums, strict=True):
            parameter.grad = gradient
        return total

    def all_reduce_max(self, number: int) -> int:
        """Returns the greatest of all ranks' numbers."""
        if self.size == 1:
            return number
        numbers = torch.tensor(number)
        with self._translated():
            dist.all_reduce(numbers, dist.ReduceOp.MAX)
        return int(numbers)

    def gather(self, value: T) -> list[T]:
        """Returns every rank's value, in order."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with self._translated():
            dist.all_gather_object(values, value, group=self.patient)
        return values

    def once(self, make: Callable[[], T]) -> T:
        """Returns what `make` returns on the first rank, broadcast to the others."""
        if self.size == 1:
            return make()
        box: list[Any] = [make() if self.is_first else None]
        with self._translated():
            dist.broadcast_object_list(box, src=0, group=self.patient)
        made: T = box[0]
        return made

    def wait(self) -> None:
        """Blocks until all ranks have called it (a barrier)."""
        self.gather(None)

    @contextmanager
    def rank_zero_first(self) -> Iterator[None]:
        """Runs the block on the first rank, then on the others, which read what it wrote."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()

    @contextmanager
    def sharing_batches(self) -> Iterator[None]:
        """Inside, layers that normalise over a batch use all ranks' parts of it."""
        token = _SHARING.set(self)
        try:
            yield
        finally:
            _SHARING.reset(token)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # of every backend
            reason = str(error).splitlines()[0].split("] ", 1)[-1].split(". ")[0]
            raise RanksLost(self.rank, self.size, reason) from error


ALONE = World()

_SHARING: ContextVar[World] = ContextVar("ranks that share a batch", default=ALONE)


def ranks_of_batch() -> World:
    """Returns the ranks that share the current batch; see `World.sharing_batches`."""
    return _SHARING.get()


def mean_over_ranks(x: Tensor) -> Tensor:
    """Returns the mean of all values of x, (...), on all ranks that share a batch, a scalar."""
    here = torch.stack([x.float().sum(), torch.tensor(float(x.numel()), device=x.device)])
    total, count = _SumOverRanks.apply(here).unbind()  # type: ignore[no-untyped-call]
    mean: Tensor = total / count
    return mean


class _SumOverRanks(torch.autograd.Function):
    """All-reduce (sum) over the ranks that share a batch, in the forward and backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.world = ranks_of_batch()
        return ctx.world.all_reduce_sum([x])[0]  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return ctx.world.all_reduce_sum([gradient])[0]  # type: ignore[no-any-return]


def ranks_started() -> int:
    """Returns how many processes torchrun has started, this one among them; 1 without it."""
    return int(os.environ["WORLD_SIZE"]) if dist.is_torchelastic_launched() else 1


@contextmanager
def joined(device: str) -> Iterator[tuple[World, str]]:
    """Joins the process group of torchrun: gloo between CPUs, NCCL between GPUs.

    Args:
        device: "cpu", or "cuda", where each rank takes the GPU of its local number.

    Yields:
        The world (`ALONE` without torchrun or with one process), and this rank's device.

    Raises:
        RanksWrong: there are fewer GPUs than ranks, or all ranks are given the same one.
    """
    if ranks_started() == 1:
        yield ALONE, device
        return
    local, neighbours = (int(os.environ[n]) for n in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"))
    if device != "cpu":
        device = _own_gpu(device, local, neighbours)
    backend = "gloo" if device == "cpu" else "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, timeout=STEP_TIMEOUT)
    patient = dist.new_group(backend="gloo", timeout=WAIT_TIMEOUT)
    yield World(dist.get_rank(), dist.get_world_size(), neighbours, patient), device
    dist.destroy_process_group()  # not after an error: it would wait for the others


def _own_gpu(device: str, local: int, neighbours: int) -> str:
    found = torch.cuda.device_count()
    if device != "cuda":
        raise RanksWrong(f"--device {device} with {neighbours} processes: give --device cuda")
    if found < neighbours:
        raise RanksWrong(f"--device cuda: {neighbours} processes, but GPUs: {found}")
    torch.cuda.set_device(local)
    return f"cuda:{local}"
