"""OOM retry: a batch that does not fit the device's memory runs again in halves."""

import itertools
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from server.errors import OutOfMemory

In = TypeVar("In")
Out = TypeVar("Out")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on the device or the host."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError | OutOfMemory)


def is_device_error(error: BaseException) -> bool:
    """Whether the device, rather than the clip or the code, caused the error."""
    return is_out_of_memory(error) or isinstance(error, torch.AcceleratorError)


def run_rows_or_split(
    run: Callable[[Tensor], Tensor], rows: Tensor, on_out_of_memory: Callable[[], None]
) -> Tensor:
    """Returns `run(rows)`; when out of memory, runs each half by itself.

    Args:
        run: rows in, as many rows out.
        rows: (n, ...), n >= 1.
        on_out_of_memory: called each time.

    Raises:
        OutOfMemory: a half does not fit either.
    """
    halves = rows.split((len(rows) + 1) // 2)
    return torch.cat(_run_or_split(run, rows, halves, on_out_of_memory))


def run_items_or_split(
    run: Callable[[list[In]], Sequence[Out]], items: list[In], on_out_of_memory: Callable[[], None]
) -> list[Out]:
    """As `run_rows_or_split`, for lists."""
    half = (len(items) + 1) // 2
    halves = [part for part in (items[:half], items[half:]) if part]
    return list(itertools.chain(*_run_or_split(run, items, halves, on_out_of_memory)))


def _run_or_split(
    run: Callable[[In], Out], whole: In, parts: Sequence[In], on_out_of_memory: Callable[[], None]
) -> list[Out]:
    try:
        return [run(whole)]
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    # Outside the handler, whose traceback would keep the tensors alive that must be freed.
    on_out_of_memory()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    try:
        return [run(part) for part in parts]
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        on_out_of_memory()
        raise OutOfMemory("the device has too little memory for the batch") from error
