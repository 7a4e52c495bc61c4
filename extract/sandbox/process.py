"""Decoding process, seen from the parent: start, requests and replies, frames, end.

Requests and replies are JSON lines through pipes; frames come back through an anonymous file in
memory (memfd), which needs no clean-up after a killed process and no space in /dev/shm.
"""

import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from extract.decode.clip import Limits
from extract.errors import (
    DecoderDied,
    DecoderUnavailable,
    DecodeTimeout,
    VideoRejected,
)
from extract.sandbox.cpu_time import CpuTime

logger = logging.getLogger(__name__)

NICENESS = 5
"""Levels below the server, so that refusals and health checks do not wait for decoding."""

_START_S = 60.0
_LOOK_S = 0.25  # between two looks at the CPU time of a process that is at work
_MAX_REPLY_BYTES = 16 * 1024 * 1024  # source frames of half a day
# No key or token of the server's environment reaches a process that reads hostile files.
_PASSED_VARIABLES = (
    "PATH",
    "LD_LIBRARY_PATH",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TMPDIR",
    "VIRTUAL_ENV",
)
_SET_VARIABLES = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
    "PYTHONDONTWRITEBYTECODE": "1",
}


class DecodeProcess:
    """One decoding process, its pipes and the memory for its frames.

    Used by one thread at a time, except `kill`.

    Attributes:
        asked: clips sent to it so far.
        limits: on one clip.
        feed_end: descriptor of the pipe of a live stream, in the process.

    Args:
        limits: on one clip.
        niceness: levels of CPU priority below this process.
        has_feed: it reads a live stream from a pipe, see `feed`.

    Raises:
        OSError: the system starts no more processes.
    """

    def __init__(self, limits: Limits, niceness: int = NICENESS, *, has_feed: bool = False) -> None:
        self.asked = 0
        self.limits = limits
        self._is_ready = False
        self._started_at = time.monotonic()
        self._buffer = b""
        self._end_lock = threading.Lock()
        self._memory: int | None = _anonymous_file()
        self.feed_end: int | None = None
        self._feed: int | None = None
        if has_feed:
            self.feed_end, self._feed = os.pipe()
        passed = [end for end in (self._memory, self.feed_end) if end is not None]
        try:
            worker = [sys.executable, "-m", "extract.sandbox.worker"]
            given = [str(self._memory), json.dumps(asdict(limits)), str(niceness)]
            self._process = subprocess.Popen(
                [*worker, *given, *(["live"] if has_feed else [])],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=passed,
                env=_environment(),
                start_new_session=True,  # a Ctrl-C at the terminal is the parent's to handle
            )
        except BaseException:
            os.close(self._memory)
            self.end_feed()
            raise
        finally:
            if self.feed_end is not None:
                os.close(self.feed_end)  # only the process reads it
        self._cpu = CpuTime(self.pid)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def has_ended(self) -> bool:
        """Returns whether the process has ended."""
        return self._process.poll() is not None

    def is_starting(self) -> bool:
        """Returns whether it may still get ready: a caller's short deadline does not end that."""
        is_young = time.monotonic() - self._started_at < _START_S
        return not self._is_ready and is_young and not self.has_ended()

    def wait_ready(self, deadline: float) -> None:
        """Waits until it accepts clips.

        Raises:
            DecoderUnavailable: it is not ready by the deadline, or died before.
        """
        if self._is_ready:
            return
        try:
            measures = self._read_line(deadline).get("ready")
        except DecodeTimeout as error:
            raise DecoderUnavailable("a decoding process is still starting") from error
        except DecoderDied as error:
            raise DecoderUnavailable("a decoding process did not start") from error
        logger.info("decoding process %d is ready: %s", self.pid, measures)
        self._is_ready = True

    def ask(self, request: dict[str, Any], deadline: float) -> dict[str, Any]:
        """Returns its reply to one request; the deadline is on the monotonic clock.

        Raises:
            DecodeTimeout: no reply by then; the process cannot be used again.
            DecoderDied: it ended, or its reply is malformed.
            VideoRejected: it has used the CPU time of a clip.
        """
        self.send(request)
        return self._read_line(deadline, self.limits.cpu_s)

    def send(self, request: dict[str, Any]) -> None:
        """Sends a request without waiting for the reply; its CPU time counts from here.

        Raises:
            DecoderDied: it ended.
        """
        self.asked += 1
        with _pipe_errors():
            self._cpu.mark()
            self._cpu.allow(self.limits.cpu_s)
        self._write(json.dumps(request).encode() + b"\n")

    def free_slot(self) -> None:
        """Frees the ring slot of the oldest block of a stream, which was read.

        Raises:
            DecoderDied: it ended.
        """
        self._write(b"\n")

    def feed(self, data: bytes) -> None:
        """Passes bytes of a live stream to it; blocks while it has not read those before.

        By one thread at a time, which may be another than the one that reads its replies.

        Raises:
            DecoderDied: it ended.
        """
        rest = memoryview(data)
        with _pipe_errors():
            while rest:
                if self._feed is None:
                    raise OSError("the pipe is closed")
                rest = rest[os.write(self._feed, rest) :]

    def end_feed(self) -> None:
        """Ends a live stream: it replies with the rest; idempotent."""
        with self._end_lock:
            feed, self._feed = self._feed, None
        if feed is not None:
            os.close(feed)

    def fileno(self) -> int:
        """Descriptor of its replies, for selectors."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def replies(self) -> Iterator[dict[str, Any]]:
        """Yields every reply received so far; waits for the first one.

        Raises:
            DecoderDied: it ended, or its reply is malformed.
            VideoRejected: it ended at its limit of CPU time.
        """
        self._fill()
        self._cpu.mark(every_s=_LOOK_S)
        while b"\n" in self._buffer:
            yield self._next_line()

    def overdue(self, timeout: DecodeTimeout) -> DecodeTimeout | VideoRejected:
        """Returns the error of a request without a reply: the file's fault, or `timeout` if not.

        The file is at fault if the process had the CPU since the request, or a stream's last reply.
        """
        return self._too_slow() if self._cpu.is_used_up(self.limits.cpu_s) else timeout

    def read_frames(self, shape: tuple[int, ...], dtype: str, offset: int = 0) -> np.ndarray:
        """Returns a copy of its frames; read, not mapped: a shrinking file would kill the reader.

        Raises:
            DecoderDied: there are fewer than it stated.
        """
        frames = np.empty(shape, dtype)
        rest = frames.data.cast("B")
        while rest:
            count = os.preadv(self._memory, [rest], offset) if self._memory is not None else 0
            if count == 0:
                raise DecoderDied("a decoding process delivered too few frames")
            rest, offset = rest[count:], offset + count
        return frames

    def forget_frames(self) -> None:
        """Frees the memory of its frames."""
        if self._memory is not None:
            os.ftruncate(self._memory, 0)

    def kill(self) -> None:
        """Kills it, from any thread; a call that waits for it raises DecoderDied."""
        self._process.kill()

    def end(self) -> None:
        """Kills it, waits for its end, and frees pipes and memory; idempotent."""
        self.end_feed()
        with self._end_lock:
            if self._memory is None:
                return
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                with suppress(OSError):  # a request that was never read
                    if stream is not None:
                        stream.close()
            os.close(self._memory)
            self._memory = None

    def _read_line(self, deadline: float, cpu_s: float = inf) -> dict[str, Any]:
        with _pipe_errors(), selectors.DefaultSelector() as selector:
            selector.register(self, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                left_s = deadline - time.monotonic()
                if selector.select(max(0.0, min(left_s, _LOOK_S))):
                    self._fill()
                elif self._cpu.used_s() >= cpu_s:
                    raise self._too_slow()
                elif left_s <= _LOOK_S:
                    raise DecodeTimeout("decoding took longer than it may")
        return self._next_line()

    def _fill(self) -> None:
        with _pipe_errors():
            data = os.read(self.fileno(), 65536)
        if not data:
            self._process.kill()  # it may have closed its replies without ending
            if self._process.wait() == -signal.SIGXCPU:
                raise self._too_slow()
        if not data or len(self._buffer) > _MAX_REPLY_BYTES:
            raise DecoderDied("a decoding process ended unexpectedly")
        self._buffer += data

    def _too_slow(self) -> VideoRejected:
        detail = "decoding this file takes more CPU time than it may"
        return VideoRejected("too-slow-for-job" if self.limits.is_stream else "too-slow", detail)

    def _next_line(self) -> dict[str, Any]:
        line, _, self._buffer = self._buffer.partition(b"\n")
        with _pipe_errors():
            reply = json.loads(line)
        if not isinstance(reply, dict):
            raise DecoderDied("a decoding process gave a malformed reply")
        return reply

    def _write(self, line: bytes) -> None:
        assert self._process.stdin is not None
        with _pipe_errors():
            self._process.stdin.write(line)
            self._process.stdin.flush()


@contextmanager
def _pipe_errors() -> Iterator[None]:
    """Raises DecoderDied for errors of a closed pipe, and for a line that is not JSON."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise DecoderDied("a decoding process ended unexpectedly") from error


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("egopack-frames")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _environment() -> dict[str, str]:
    passed = {name: os.environ[name] for name in _PASSED_VARIABLES if name in os.environ}
    root = str(Path(__file__).resolve().parents[2])
    return {**passed, **_SET_VARIABLES, "PYTHONPATH": os.pathsep.join([root, *sys.path])}
