"""OOM retry: a batch that does not fit the device's memory runs again in halves."""

import itertools
import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from server.errors import HostOutOfMemory, OutOfMemory, is_out_of_host_memory

logger = logging.getLogger(__name__)

In = TypeVar("In")
Out = TypeVar("Out")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on the device or the host."""
    return isinstance(error, torch.OutOfMemoryError | OutOfMemory) or is_out_of_host_memory(error)


def is_device_error(error: BaseException) -> bool:
    """Whether the device, rather than the clip, the code or the host, caused the error."""
    return not is_out_of_host_memory(error) and isinstance(
        error, torch.OutOfMemoryError | OutOfMemory | torch.AcceleratorError
    )


def run_rows_or_split(
    run: Callable[[list[In]], Tensor], items: list[In], on_out_of_memory: Callable[[], None]
) -> Tensor:
    """Returns `run(items)`; when out of memory, runs each half by itself.

    Args:
        run: items in, as many rows out.
        items: one or more.
        on_out_of_memory: called each time.

    Raises:
        OutOfMemory: a half does not fit either; `HostOutOfMemory` if it is the machine's memory.
    """
    return torch.cat(_run_or_split(run, items, _halves(items), on_out_of_memory))


def run_items_or_split(
    run: Callable[[list[In]], Sequence[Out]], items: list[In], on_out_of_memory: Callable[[], None]
) -> list[Out]:
    """As `run_rows_or_split`, with a list out."""
    return list(itertools.chain(*_run_or_split(run, items, _halves(items), on_out_of_memory)))


def _halves(items: list[In]) -> list[list[In]]:
    half = (len(items) + 1) // 2
    return [part for part in (items[:half], items[half:]) if len(part)]


def _run_or_split(
    run: Callable[[In], Out], whole: In, parts: Sequence[In], on_out_of_memory: Callable[[], None]
) -> list[Out]:
    try:
        return [run(whole)]
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        is_poisoned = "could not create a primitive" in str(error)
    # Outside the handler, whose traceback would keep the tensors alive that must be freed.
    on_out_of_memory()
    if is_poisoned and torch.backends.mkldnn.enabled:
        # oneDNN never makes a layer whose first making failed: not when memory is back either.
        logger.warning("oneDNN ran out of memory; layers run without it until the next start")
        torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    try:
        return [run(part) for part in parts]
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        on_out_of_memory()
        if is_out_of_host_memory(error):
            raise HostOutOfMemory("the machine has no memory left") from error
        raise OutOfMemory("the device has too little memory for the batch") from error
