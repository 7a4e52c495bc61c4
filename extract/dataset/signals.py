"""Ctrl-C and termination as a question a loop can ask, instead of an exception anywhere."""

import signal
from types import FrameType, TracebackType


class StopSignals:
    """While entered, the first SIGINT or SIGTERM is noted; a second one acts as it always did.

    Attributes:
        received: the signal, once it came.
    """

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.received: signal.Signals | None = None

    def __enter__(self) -> "StopSignals":
        self._before = {number: signal.signal(number, self._note) for number in self._SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._restore()

    def is_stopped(self) -> bool:
        """Tells whether a signal came."""
        return self.received is not None

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
