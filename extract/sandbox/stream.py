"""Frame stream: a video of any length, decoded ahead in a process of its own (prefetch).

Back-pressure: the process stops decoding while all slots of its ring buffer are full.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np

from extract.contract import FeatureContract
from extract.decode.clip import ClipInfo, Notice, ReaderChoice, StreamFacts
from extract.decode.video import BLOCK_BYTES, BLOCK_FRAMES, FrameSink
from extract.errors import DecoderDied
from extract.sandbox.process import DecodeProcess
from extract.sandbox.replies import check_reply, facts_in, malformed_reply
from extract.windows import wanted_frames

SLOTS = 8
"""Blocks in the ring buffer: of 32 frames, or of 8 MB when frames are large."""

_MAX_FRAMES = 2**27  # fifty days at 30 a second


class FrameStream:
    """The frames of one video that windows use, from a process that decodes it alone.

    Attributes:
        is_reusable: the video ended, and the process accepts another.
        info: facts of the video, after its last frame.
        notices: of the video, after its last frame.
        facts: with `wants_facts`, after the last frame.

    Args:
        process: decodes; its `fileno` is readable when there are replies.
        path: the video.
        contract: how frames are to be delivered.
        reader: the decoder.
        video_track: which of the file's video tracks, from 0; None takes the one marked as default.
        wants_facts: collect the source frame of every tick.

    Raises:
        DecoderDied: the process ended before the request.
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
        """Passes received frames to a sink, waiting for the first; returns True after the last one.

        Raises:
            VideoRejected: the file is no acceptable video.
            DecoderDied: the process crashed on it.
        """
        return any(self._is_end(reply, sink) for reply in self._process.replies())

    def _is_end(self, reply: dict[str, Any], sink: FrameSink) -> bool:
        if "rejected" in reply:
            self.is_reusable = "spent" not in reply
        check_reply(reply)
        if "shape" in reply:
            block = self._block(reply)
            self._process.free_slot()  # decoding continues while the frames are used
            self._num_due -= len(block)
            sink.append(block)
        elif "expected" in reply:
            self._num_frames = _whole(reply["expected"])
            self._num_due = self._count_wanted()
            sink.expect(self._num_frames)
        elif "restart" in reply:
            self._num_due = self._count_wanted()
            sink.restart()
        elif "info" in reply:
            if self._num_due:
                raise DecoderDied("a decoding process delivered too few frames")
            self.info, self.notices = facts_in(reply)
            if self._wants_facts:
                self.facts = self._facts(reply, self.info)
            self.is_reusable = True
            return True
        return False  # or the process is ready

    def _block(self, reply: dict[str, Any]) -> np.ndarray:
        """Returns the frames of a block, once its stated size is checked against the contract.

        Whole frames are of any size that a file may have; a block of several has few bytes.
        """
        with malformed_reply():
            shape = tuple(map(_whole, reply["shape"]))
            offset = _whole(reply["offset"])
        most, contract = min(BLOCK_FRAMES, self._num_due), self._contract
        if contract.is_whole and len(shape) == 4:
            height, width = shape[1:3]
            if not 0 < height * width <= self._process.limits.max_pixels:
                raise DecoderDied("a decoding process gave a malformed reply")
            most = min(most, max(1, BLOCK_BYTES // contract.read_bytes(width, height)))
            expected = contract.read_shape(width, height)
        else:
            expected = contract.frame_shape
        if shape[1:] != expected or not 0 < shape[0] <= most:
            raise DecoderDied("a decoding process gave a malformed reply")
        return self._process.read_frames(shape, contract.read_dtype, offset)

    def _count_wanted(self) -> int:
        if not 0 < self._num_frames <= _MAX_FRAMES:
            raise DecoderDied("a decoding process gave a malformed reply")
        return int(wanted_frames(self._num_frames, self._contract).sum())

    def _facts(self, reply: dict[str, Any], info: ClipInfo) -> StreamFacts:
        with malformed_reply():
            frames = np.array([_whole(frame) for frame in reply["source_frames"]], dtype=np.int64)
        if len(frames) != self._num_frames:
            raise DecoderDied("a decoding process gave a malformed reply")
        return StreamFacts(info, frames, self.notices)


def _whole(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise DecoderDied("a decoding process gave a malformed reply")
    return value
