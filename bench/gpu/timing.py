"""Timing of asynchronous devices, within a time budget."""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

NOT_MEASURED = "not measured"


class Clock:
    """Times calls on a device, as long as a part's budget lasts."""

    def __init__(self, device: torch.device, budget_s: float, *, calls: int | None = None) -> None:
        """Starts; each figure is of so many calls, or None: as many as a second has."""
        self._device = device
        self._budget_s = budget_s
        self._calls = calls
        self._started = time.perf_counter()

    def spent_s(self) -> float:
        """Returns seconds since the part began."""
        return time.perf_counter() - self._started

    def is_up(self) -> bool:
        """Whether the budget is spent."""
        return self.spent_s() >= self._budget_s

    def wait(self) -> None:
        """Synchronises with the device."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def seconds(self, call: Callable[[], Any], *, most: int = 100, least: int = 3) -> float:
        """Returns the median time of a call, after two that do not count.

        Args:
            call: made until it took a second in all, or the budget is spent.
            most: calls.
            least: calls, whatever they take.
        """
        if self._calls is not None:
            most = least = self._calls
        taken: list[float] = []
        for turn in range(most + 2):
            started = time.perf_counter()
            call()
            self.wait()
            if turn >= 2:
                taken.append(time.perf_counter() - started)
            if len(taken) >= least and (sum(taken) > 1.0 or self.is_up()):
                break
        return statistics.median(taken)


def measured(
    rows: Iterable[tuple[str, Callable[[], Any]]], clock: Clock
) -> Iterator[tuple[str, Any]]:
    """Yields each row with its figure, or with the reason why there is none.

    An error, such as too little device memory, ends one row alone.
    """
    for name, call in rows:
        if clock.is_up():
            yield name, f"{NOT_MEASURED}: the time was up"
            continue
        try:
            yield name, call()
        except Exception as error:  # whatever a machine lacks
            reason = (str(error).strip().splitlines() or [""])[0][:120]
            yield name, f"{NOT_MEASURED}: {type(error).__name__}: {reason}"
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
