"""Several processes that train one model together, as torchrun starts them.

Every rank draws every global batch, from the same seeds, and computes its part of it; losses are
weighted so that those of all parts add up to the batch's, and gradients are added up before the
optimiser moves every rank alike. So the number of ranks changes the order of additions and the
coins of dropout, and nothing else.

Why not DistributedDataParallel: it averages ranks as equals, and parts are not equal (labels are
missing, a last batch is short); and it sees no gradient that is taken by hand, as gradient surgery
and the encoder's shards take theirs. What it has over one flat buffer is that messages overlap with
the backward pass, which matters where they are large: a step sends 4 bytes a trained parameter.
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
"""How long a rank waits in a step for one that says nothing; one that dies is noticed at once."""

WAIT_TIMEOUT = timedelta(hours=24)
"""How long the others wait for what one rank does alone: draw a world, pack features, score."""


@dataclass(frozen=True, eq=False)
class World:
    """All ranks, seen from one of them; without others every method does nothing.

    Attributes:
        rank: this process.
        size: processes in all.
        neighbours: those of them on this machine.
        patient: the group in which ranks wait for each other long.
    """

    rank: int = 0
    size: int = 1
    neighbours: int = 1
    patient: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that writes, logs and draws bars."""
        return self.rank == 0

    def part(self, count: int) -> slice:
        """Returns which of `count` things in a row are this rank's; perhaps none."""
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def all_reduce_sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Returns the sums over all ranks, bit for bit the same on each: one buffer, one message.

        Args:
            tensors: of one kind and device, as many and as large on every rank.
        """
        if self.size == 1:
            return list(tensors)
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        with self._listening():
            dist.all_reduce(flat)
        sums = flat.split([tensor.numel() for tensor in tensors])
        return [s.view_as(tensor) for s, tensor in zip(sums, tensors, strict=True)]

    def add_gradients(self, module: nn.Module, loss: Tensor) -> Tensor:
        """Adds the gradients of a module's parameters up over all ranks; returns the summed loss.

        Args:
            module: has the gradients of this rank's part; the same parameters have one everywhere.
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
        with self._listening():
            dist.all_reduce(numbers, dist.ReduceOp.MAX)
        return int(numbers)

    def gather(self, value: T) -> list[T]:
        """Returns every rank's value, in order."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with self._listening():
            dist.all_gather_object(values, value, group=self.patient)
        return values

    def once(self, make: Callable[[], T]) -> T:
        """Returns what the first rank makes; the others wait for it and get a copy."""
        if self.size == 1:
            return make()
        box: list[Any] = [make() if self.is_first else None]
        with self._listening():
            dist.broadcast_object_list(box, src=0, group=self.patient)
        made: T = box[0]
        return made

    def wait(self) -> None:
        """Returns when all ranks have come here."""
        self.gather(None)

    @contextmanager
    def rank_zero_first(self) -> Iterator[None]:
        """Lets the first rank through, then the others: what it wrote they only read."""
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()

    @contextmanager
    def sharing_batches(self) -> Iterator[None]:
        """Inside, layers that look at a whole batch look at all ranks' parts of it."""
        token = _SHARING.set(self)
        try:
            yield
        finally:
            _SHARING.reset(token)

    @contextmanager
    def _listening(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # what torch raises has no narrower name on every backend
            said = str(error).splitlines()[0].split("] ", 1)[-1].split(". ")[0]
            raise RanksLost(self.rank, self.size, said) from error


ALONE = World()

_SHARING: ContextVar[World] = ContextVar("ranks that share a batch", default=ALONE)


def ranks_of_batch() -> World:
    """Returns the ranks over which the batch in hand is spread."""
    return _SHARING.get()


def mean_over_ranks(x: Tensor) -> Tensor:
    """Returns the mean of all values of x, (...), on all ranks that share a batch, a scalar."""
    here = torch.stack([x.float().sum(), torch.tensor(float(x.numel()), device=x.device)])
    total, count = _SumOverRanks.apply(here).unbind()  # type: ignore[no-untyped-call]
    mean: Tensor = total / count
    return mean


class _SumOverRanks(torch.autograd.Function):
    """The sum of a tensor over the ranks that share a batch; gradients take the same way back."""

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
    """Joins the ranks torchrun has started; without it, or with one, there is nobody to join.

    Messages between processors go over gloo, between GPUs over NCCL.

    Args:
        device: "cpu", or "cuda", of which each rank takes the one with its own number.

    Yields:
        the world, and this rank's device.

    Raises:
        RanksWrong: there are not as many GPUs as ranks, or one is named for all of them.
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
    dist.destroy_process_group()  # after an error whoever is left must not be waited for


def _own_gpu(device: str, local: int, neighbours: int) -> str:
    found = torch.cuda.device_count()
    if device != "cuda":
        raise RanksWrong(f"--device {device} with {neighbours} processes: give --device cuda")
    if found < neighbours:
        raise RanksWrong(f"--device cuda: {neighbours} processes, but GPUs: {found}")
    torch.cuda.set_device(local)
    return f"cuda:{local}"
