"""Pool of decoding processes: a clip may crash or stall one of them, never the server.

Imports no video library. Replies of a process that read a hostile file are validated like the file.
"""

import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from extract.contract import FeatureContract
from extract.decode.clip import DecodedClip, Limits, Prepare, ReaderChoice
from extract.errors import DecoderDied, DecoderUnavailable, DecodeTimeout
from extract.sandbox.process import DecodeProcess
from extract.sandbox.replies import check_reply, facts_in, malformed_reply
from extract.windows import wanted_frames

logger = logging.getLogger(__name__)

_MB = 1024 * 1024
_PART_BYTES = 64 * _MB  # of whole frames, in this process at once, while they are prepared


class DecodePool:
    """Decodes clips in processes of their own, one clip at a time each. Thread-safe.

    A process is replaced after a crash, after a timeout, and after `clips_per_worker` clips. The
    reader nvdec needs more address space than `limits` usually allow.
    """

    def __init__(
        self,
        *,
        workers: int,
        limits: Limits,
        clips_per_worker: int = 200,
        reader: ReaderChoice = "auto",
    ) -> None:
        if workers < 1 or clips_per_worker < 1:
            raise ValueError(f"expected at least one, got {workers=}, {clips_per_worker=}")
        self.workers = workers
        self.limits = limits
        self.reader: ReaderChoice = reader
        self._clips_per_worker = clips_per_worker
        self._changed = threading.Condition()
        self._idle: list[DecodeProcess | None] = []  # None: a slot whose process has to be started
        self._living: set[DecodeProcess] = set()
        self._open = False

    def start(self) -> None:
        """Starts all processes without waiting until they are ready.

        Raises:
            DecoderUnavailable: the system starts no more processes.
        """
        with self._changed:
            if self._open:
                return
            self._open = True
        try:
            for _ in range(self.workers):
                self._give_back(self._launch())
        except DecoderUnavailable:
            self.close()
            raise

    def close(self) -> None:
        """Ends all processes, busy or not; calls that wait for one fail at once."""
        with self._changed:
            self._open = False
            idle, self._idle = self._idle, []
            busy = self._living - set(idle)
            self._changed.notify_all()
        for process in busy:
            process.kill()  # the call that waits for it cleans up
        for process in filter(None, idle):
            self._end(process)

    def __enter__(self) -> "DecodePool":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pids(self) -> list[int]:
        """Ids of the living processes, sorted."""
        with self._changed:
            return sorted(process.pid for process in self._living)

    def decode(
        self,
        path: Path,
        contract: FeatureContract,
        *,
        timeout_s: float | None = None,
        video_track: int | None = None,
        prepare: Prepare | None = None,
    ) -> DecodedClip:
        """Returns the frames of a clip that windows use; blocks while all processes are busy.

        Args:
            path: the clip; should lie where no other user can replace it.
            contract: how frames are to be delivered.
            timeout_s: for waiting and decoding together; decoding alone never gets more than
                `limits.decode_wall_s`, which is also the default.
            video_track: which of the file's video tracks, from 0; None takes the one marked as
                default.
            prepare: makes the clip's frames of those read, some at a time; None leaves them.

        Raises:
            VideoRejected: the bytes are no acceptable clip, or take too much CPU time.
            DecoderDied: the process crashed on them.
            DecodeTimeout: the time limit passed while decoding, by no fault of the clip.
            DecoderUnavailable: no process could be started, or none was free in time.
            OSError: there is no such file.
        """
        path.stat()
        wall_s = self.limits.decode_wall_s
        deadline = time.monotonic() + (wall_s if timeout_s is None else timeout_s)
        process = self._take(deadline)
        is_reusable = False
        try:
            process = self._alive(process)
            process.wait_ready(deadline)
            request = {
                "path": os.path.abspath(path),
                "contract": contract.to_dict(),
                "reader": self.reader,
                "video_track": video_track,
            }
            wall_deadline = time.monotonic() + wall_s
            try:
                reply = process.ask(request, min(deadline, wall_deadline))
            except DecodeTimeout as error:
                if deadline < wall_deadline:  # the caller's own limit
                    raise
                raise process.overdue(error) from error
            is_reusable = "spent" not in reply and process.asked < self._clips_per_worker
            return self._clip(process, reply, contract, prepare)
        except DecoderDied as error:
            if not self._open:
                raise DecoderUnavailable("the decoding pool was closed") from error
            raise
        finally:
            if process is not None and not (is_reusable or process.is_starting()):
                self._end(process)
                process = None
            self._give_back(process)
            if process is None:
                self._refill()

    def _take(self, deadline: float) -> DecodeProcess | None:
        """Returns a free slot: its process, or None when one has to be started."""
        with self._changed:
            while self._open and not self._idle:
                if not self._changed.wait(deadline - time.monotonic()):
                    raise DecoderUnavailable("all decoding processes are busy")
            if not self._open:
                raise DecoderUnavailable("the decoding pool is closed")
            # The one used last is warm; slots without a process are at the front.
            return self._idle.pop()

    def _give_back(self, process: DecodeProcess | None) -> None:
        with self._changed:
            if self._open:
                if process is None:
                    self._idle.insert(0, None)
                else:
                    self._idle.append(process)
                self._changed.notify()
                return
        if process is not None:
            self._end(process)

    def _alive(self, process: DecodeProcess | None) -> DecodeProcess:
        """Returns a living process; one that died while idle is replaced."""
        if process is not None and process.has_ended():
            self._end(process)
            process = None
        return process or self._launch()

    def _launch(self) -> DecodeProcess:
        try:
            process = DecodeProcess(self.limits.for_reader(self.reader))
        except OSError as error:
            raise DecoderUnavailable(f"cannot start a decoding process: {error}") from error
        with self._changed:
            self._living.add(process)
        return process

    def _refill(self) -> None:
        """Starts a process for a slot without one, so that the next clip need not wait."""
        try:
            with self._changed:
                if not self._open or None not in self._idle:
                    return
                self._idle.remove(None)
            self._give_back(self._launch())
        except DecoderUnavailable:
            logger.exception("a decoding process could not be replaced")
            self._give_back(None)

    def _end(self, process: DecodeProcess) -> None:
        with self._changed:
            self._living.discard(process)
        process.end()

    def _clip(
        self,
        process: DecodeProcess,
        reply: dict[str, Any],
        contract: FeatureContract,
        prepare: Prepare | None,
    ) -> DecodedClip:
        check_reply(reply)
        info, notices = facts_in(reply)
        with malformed_reply():
            shape = tuple(int(size) for size in reply["shape"])
            source_frames = np.array(reply["source_frames"], dtype=np.int64)
            source_times_s = np.array(reply["source_times_s"], dtype=np.float64)
            frame_bytes = contract.read_bytes(info.width, info.height)
        is_sound = (
            shape[1:] == contract.read_shape(info.width, info.height)
            and 0 < shape[0] * frame_bytes <= self.limits.max_output_mb * _MB
            and len(source_frames) > 0
            and source_frames.shape == source_times_s.shape == (len(source_frames),)
            and wanted_frames(len(source_frames), contract).sum() == shape[0]
        )
        if not is_sound:
            raise DecoderDied("a decoding process gave a malformed reply")
        if prepare is None:
            frames = process.read_frames(shape, contract.read_dtype)
        else:
            step = max(1, _PART_BYTES // frame_bytes)
            parts = [
                prepare(
                    process.read_frames(
                        (min(step, shape[0] - first), *shape[1:]),
                        contract.read_dtype,
                        first * frame_bytes,
                    )
                )
                for first in range(0, shape[0], step)
            ]
            frames = np.concatenate(parts)
        process.forget_frames()
        return DecodedClip(info, frames, source_frames, source_times_s, notices)
