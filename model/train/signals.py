"""Deferred signals: SIGTERM and SIGINT are noted, and handled at the next checkpoint."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGINT)


class Request:
    """A request to end this process.

    Attributes:
        signum: the first signal that came; 0 while none has.
        is_handled: whether the caller has acted on it.
    """

    def __init__(self) -> None:
        self.signum = 0
        self.is_handled = False

    def _note(self, signum: int, _: FrameType | None) -> None:
        self.signum = self.signum or signum


@contextmanager
def deferred_signals(*, active: bool = True) -> Iterator[Request]:
    """Notes SIGTERM and SIGINT inside the block; one that was not handled takes effect after it.

    Args:
        active: if False, or outside the main thread, where Python allows no handler, signals
            have their usual effect.
    """
    request = Request()
    if not active or threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {signum: signal.signal(signum, request._note) for signum in ENDING}
    try:
        yield request
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
    if request.signum and not request.is_handled:
        os.kill(os.getpid(), request.signum)
