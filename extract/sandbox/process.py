"""One decoding process: starting it, talking to it, ending it.

Talks JSON lines through pipes; frames come back through a nameless file in memory, so there is
nothing to clean up after a process that was killed, and no small /dev/shm to run out of.
"""

import json
import logging
import os
import selectors
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from extract.decode.clip import Limits
from extract.errors import DecoderDied, DecoderUnavailable, DecodeTimeout

logger = logging.getLogger(__name__)

_START_S = 60.0
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
    """One decoding process, the pipes to it and the memory its frames come back through.

    Used by one thread at a time, but for `kill`.

    Attributes:
        asked: clips it was given so far.

    Raises:
        OSError: the system does not let us start one.
    """

    def __init__(self, limits: Limits) -> None:
        self.asked = 0
        self._is_ready = False
        self._started_at = time.monotonic()
        self._buffer = b""
        self._end_lock = threading.Lock()
        self._memory: int | None = _nameless_file()
        try:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "extract.sandbox.worker",
                    str(self._memory),
                    _to_json(limits),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=(self._memory,),
                env=_environment(),
                start_new_session=True,  # a Ctrl-C at the terminal is the parent's to handle
            )
        except BaseException:
            os.close(self._memory)
            raise

    @property
    def pid(self) -> int:
        """Its id."""
        return self._process.pid

    def has_ended(self) -> bool:
        """Tells whether it has died."""
        return self._process.poll() is not None

    def is_starting(self) -> bool:
        """Tells whether it may still get ready: a caller's short deadline must not undo that."""
        is_young = time.monotonic() - self._started_at < _START_S
        return not self._is_ready and is_young and not self.has_ended()

    def wait_ready(self, deadline: float) -> None:
        """Waits until it takes clips.

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
            DecodeTimeout: no reply by then; the process is of no more use.
            DecoderDied: it ended, or talks nonsense.
        """
        self.send(request)
        return self._read_line(deadline)

    def send(self, request: dict[str, Any]) -> None:
        """Gives it a clip and does not wait.

        Raises:
            DecoderDied: it ended.
        """
        self.asked += 1
        self._write(json.dumps(request).encode() + b"\n")

    def free_slot(self) -> None:
        """Tells it that the oldest block of a stream was read.

        Raises:
            DecoderDied: it ended.
        """
        self._write(b"\n")

    def fileno(self) -> int:
        """Its replies, to wait for."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def replies(self) -> Iterator[dict[str, Any]]:
        """Yields every reply that is there by now; waits when there is none at all.

        Raises:
            DecoderDied: it ended, or talks nonsense.
        """
        self._fill()
        while b"\n" in self._buffer:
            yield self._next_line()

    def read_frames(self, shape: tuple[int, ...], dtype: str, offset: int = 0) -> np.ndarray:
        """Copies its frames out; read, not mapped: a mapping dies with a file that shrinks.

        Raises:
            DecoderDied: there are fewer than it claims.
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
        """Frees the memory its frames came back through."""
        if self._memory is not None:
            os.ftruncate(self._memory, 0)

    def kill(self) -> None:
        """Kills it, from any thread; whoever waits for it sees it die."""
        self._process.kill()

    def end(self) -> None:
        """Kills it, waits for that, and frees what is ours. May be called again."""
        with self._end_lock:
            if self._memory is None:
                return
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    _close_quietly(stream)
            os.close(self._memory)
            self._memory = None

    def _read_line(self, deadline: float) -> dict[str, Any]:
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self, selectors.EVENT_READ)
                while b"\n" not in self._buffer:
                    if not selector.select(max(0.0, deadline - time.monotonic())):
                        raise DecodeTimeout("decoding took longer than it may")
                    self._fill()
        except (OSError, ValueError) as error:  # closed under our hands
            raise DecoderDied("a decoding process ended unexpectedly") from error
        return self._next_line()

    def _fill(self) -> None:
        try:
            data = os.read(self.fileno(), 65536)
        except (OSError, ValueError) as error:  # closed under our hands
            raise DecoderDied("a decoding process ended unexpectedly") from error
        if not data or len(self._buffer) > _MAX_REPLY_BYTES:
            raise DecoderDied("a decoding process ended unexpectedly")
        self._buffer += data

    def _next_line(self) -> dict[str, Any]:
        line, _, self._buffer = self._buffer.partition(b"\n")
        try:
            reply = json.loads(line)
        except ValueError as error:
            raise DecoderDied("a decoding process ended unexpectedly") from error
        if not isinstance(reply, dict):
            raise DecoderDied("a decoding process gave a malformed reply")
        return reply

    def _write(self, line: bytes) -> None:
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except (OSError, ValueError) as error:
            raise DecoderDied("a decoding process ended unexpectedly") from error


def _close_quietly(stream: Any) -> None:
    try:
        stream.close()
    except OSError:  # a request that was never read
        logger.debug("closing a pipe to a dead process failed", exc_info=True)


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("egopack-frames")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _environment() -> dict[str, str]:
    passed = {name: os.environ[name] for name in _PASSED_VARIABLES if name in os.environ}
    root = str(Path(__file__).resolve().parents[2])
    return {**passed, **_SET_VARIABLES, "PYTHONPATH": os.pathsep.join([root, *sys.path])}


def _to_json(limits: Limits) -> str:
    return json.dumps(asdict(limits))
