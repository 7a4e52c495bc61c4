"""Requests to end, put off until there is a good moment."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGINT)


class Request:
    """What a process was asked.

    Attributes:
        signum: the first signal that came; 0 while none has.
        is_handled: whether somebody acts on it.
    """

    def __init__(self) -> None:
        self.signum = 0
        self.is_handled = False

    def _note(self, signum: int, _: FrameType | None) -> None:
        self.signum = self.signum or signum


@contextmanager
def deferred_signals(*, active: bool = True) -> Iterator[Request]:
    """Only notes SIGTERM and SIGINT while inside; one that nobody heeded takes effect afterwards.

    Args:
        active: without it, and outside the main thread, where Python allows no handler, signals
            do what they always do.
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
