"""Admission of live streams: by their number, a caller's share of it, and windows a second.

A stream brings windows at a constant rate for as long as it lasts, so what is promised together
must be less than what the encoder does: there are clips and jobs beside it.
"""

from collections.abc import Callable
from math import inf
from typing import Literal

from server.errors import QueueFull
from server.scheduling.shares import Shares
from server.settings.settings import Settings
from server.telemetry.metrics import Metrics

MEASURED_SHARE = 0.7
"""The part of what the encoder does, as measured, that streams may take."""

RETRY_AFTER_S = 30

Refusal = Literal["streams", "caller", "windows"]


class LivePlaces:
    """The places of streams.

    Args:
        settings: how many there are.
        window_s: seconds a window takes the encoder; 0: not measured.
        metrics: count refusals.
    """

    def __init__(self, settings: Settings, window_s: Callable[[], float], metrics: Metrics) -> None:
        self._settings, self._window_s, self._metrics = settings, window_s, metrics
        self._shares = Shares(settings.live_sessions, settings.max_caller_share)
        self._windows_s = 0.0
        metrics.read(metrics.live_sessions, lambda: self._shares.held)

    @property
    def capacity(self) -> float:
        """Windows a second of all streams together."""
        if self._settings.live_windows_s:
            return self._settings.live_windows_s
        window_s = self._window_s()
        return MEASURED_SHARE / window_s if window_s else inf

    def take(self, caller: str, windows_s: float) -> "LivePlace":
        """Returns a place for a stream.

        Args:
            caller: whose share is counted; empty: none.
            windows_s: windows a second that it brings. The only stream may bring any number.

        Raises:
            QueueFull: there is none.
        """
        reason = self._refusal(caller, windows_s)
        if reason is not None:
            self._metrics.live_refusals.labels(reason).inc()
            raise QueueFull(RETRY_AFTER_S)
        self._shares.take(caller)
        self._windows_s += windows_s
        return LivePlace(lambda: self._give_back(caller, windows_s))

    def _refusal(self, caller: str, windows_s: float) -> Refusal | None:
        if self._shares.held >= self._shares.limit:
            return "streams"
        if not self._shares.has_room(caller):
            return "caller"
        is_only = not self._shares.held
        return None if is_only or self._windows_s + windows_s <= self.capacity else "windows"

    def _give_back(self, caller: str, windows_s: float) -> None:
        self._shares.give_back(caller)
        self._windows_s = self._windows_s - windows_s if self._shares.held else 0.0


class LivePlace:
    """One place, until it is given back."""

    def __init__(self, give_back: Callable[[], None]) -> None:
        self._give_back: Callable[[], None] | None = give_back

    def give_back(self) -> None:
        """Gives it back; idempotent."""
        give_back, self._give_back = self._give_back, None
        if give_back is not None:
            give_back()
