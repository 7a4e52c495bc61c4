"""A video decoded ahead in a process of its own, however long it is.

What waits to be read is bounded: the process stops decoding while all slots are full.
"""

import os
from pathlib import Path
from typing import Any, cast

import numpy as np

from extract.contract import FeatureContract
from extract.decode.clip import ClipInfo, Notice, ReaderChoice, StreamFacts
from extract.decode.video import BLOCK_FRAMES, FrameSink
from extract.errors import DecoderDied, RejectCode, VideoRejected
from extract.sandbox.process import DecodeProcess
from extract.windows import wanted_frames

SLOTS = 8
"""Blocks that may wait: of 32 frames, or of 8 MB when frames are large."""

_MAX_FRAMES = 2**27  # fifty days at 30 a second


class FrameStream:
    """The frames of one video that windows look at, from a process that does nothing else.

    Attributes:
        is_reusable: the video is done with, and the process may be given another.
        info: facts of the video, after its last frame.
        notices: what a caller should know of it, likewise.
        facts: all that and more, if they were wanted.

    Args:
        process: decodes; its `fileno` tells when there is something to read.
        path: the video.
        contract: how frames are to be delivered.
        reader: who decodes.
        video_track: which of the file's video tracks, from 0; None takes the one marked as default.
        wants_facts: whether the source frame of every tick is to be kept in mind.

    Raises:
        DecoderDied: the process ended before it was asked.
    """

    def __init__(
        self,
        process: DecodeProcess,
        path: Path,
        contract: FeatureContract,
        reader: ReaderChoice = "auto",
        *,
        video_track: int | None = None,
        wants_facts: bool = False,
    ) -> None:
        self.is_reusable = False
        self.info: ClipInfo | None = None
        self.notices: tuple[Notice, ...] = ()
        self.facts: StreamFacts | None = None
        self._wants_facts = wants_facts
        self._process = process
        self._contract = contract
        self._num_frames = 0
        self._num_due = 0  # frames that are yet to come
        process.send(
            {
                "path": os.path.abspath(path),
                "contract": contract.to_dict(),
                "reader": reader,
                "video_track": video_track,
                "slots": SLOTS,
                "wants_frames": wants_facts,
            }
        )

    def drain_into(self, sink: FrameSink) -> bool:
        """Sends on what is there by now, waiting for the first of it; True after the last frame.

        Raises:
            VideoRejected: the file is no acceptable video.
            DecoderDied: the process crashed on it.
        """
        return any(self._is_end(reply, sink) for reply in self._process.replies())

    def _is_end(self, reply: dict[str, Any], sink: FrameSink) -> bool:
        if "shape" in reply:
            block = self._block(reply)
            self._process.free_slot()  # decoding goes on while the frames are used
            self._num_due -= len(block)
            sink.append(block)
        elif "expected" in reply:
            self._num_frames = _whole(reply["expected"])
            self._num_due = self._count_wanted()
            sink.expect(self._num_frames)
        elif "restart" in reply:
            self._num_due = self._count_wanted()
            sink.restart()
        elif "rejected" in reply:
            self.is_reusable = "spent" not in reply
            code, detail = reply["rejected"]
            raise VideoRejected(cast(RejectCode, code), str(detail))
        elif "failed" in reply:
            raise DecoderDied(str(reply["failed"]))
        elif "info" in reply:
            if self._num_due:
                raise DecoderDied("a decoding process delivered too few frames")
            self.info = _info(reply)
            self.notices = _notices(reply)
            if self._wants_facts:
                self.facts = self._facts(reply, self.info)
            self.is_reusable = True
            return True
        return False  # what is left is the news that the process is ready

    def _block(self, reply: dict[str, Any]) -> np.ndarray:
        """Frames of a block, as the contract has them, unless the process claims nonsense."""
        try:
            shape = tuple(map(_whole, reply["shape"]))
            offset = _whole(reply["offset"])
        except (KeyError, TypeError) as error:
            raise DecoderDied("a decoding process gave a malformed reply") from error
        most = min(BLOCK_FRAMES, self._num_due)
        if shape[1:] != self._contract.frame_shape or not 0 < shape[0] <= most:
            raise DecoderDied("a decoding process gave a malformed reply")
        return self._process.read_frames(shape, self._contract.frame_dtype, offset)

    def _count_wanted(self) -> int:
        if not 0 < self._num_frames <= _MAX_FRAMES:
            raise DecoderDied("a decoding process gave a malformed reply")
        return int(wanted_frames(self._num_frames, self._contract).sum())

    def _facts(self, reply: dict[str, Any], info: ClipInfo) -> StreamFacts:
        try:
            facts = StreamFacts(
                info,
                np.array([_whole(frame) for frame in reply["source_frames"]], dtype=np.int64),
                self.notices,
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise DecoderDied("a decoding process gave a malformed reply") from error
        if len(facts.source_frames) != self._num_frames:
            raise DecoderDied("a decoding process gave a malformed reply")
        return facts


def _info(reply: dict[str, Any]) -> ClipInfo:
    try:
        return ClipInfo(**reply["info"])
    except (TypeError, ValueError) as error:
        raise DecoderDied("a decoding process gave a malformed reply") from error


def _notices(reply: dict[str, Any]) -> tuple[Notice, ...]:
    try:
        return tuple(Notice(str(one["code"]), str(one["detail"])) for one in reply["notices"])
    except (KeyError, TypeError) as error:
        raise DecoderDied("a decoding process gave a malformed reply") from error


def _whole(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise DecoderDied("a decoding process gave a malformed reply")
    return value
