"""Live stream: bytes that arrive -> pictures on the contract's clock, by a decoding process.

One thread feeds, another reads. Back-pressure: the process stops reading its pipe while all slots
of its ring buffer are full, and then `feed` blocks.
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from extract.contract import FeatureContract
from extract.decode.live.protocol import LiveFacts, LiveKind
from extract.errors import DecoderDied
from extract.sandbox.process import DecodeProcess
from extract.sandbox.replies import check_reply, malformed_reply

SLOTS = 16
"""Pictures in the ring buffer."""

_MOST_TICKS = 2**20  # of one picture


class LivePicture(NamedTuple):
    """A picture of a stream.

    Attributes:
        pixels: (H, W, 3) of the contract's `read_shape`; None for more ticks of the picture before,
            or such that no window looks at.
        ticks: that show it; 0 for one that replaces the picture of an earlier tick.
        taken: bytes of the stream that were read when it was certain.
        back: which tick it replaces; 1 is the last one.
    """

    pixels: np.ndarray | None
    ticks: int
    taken: int = 0
    back: int = 0


class LiveStream:
    """The pictures of one stream, from a process that decodes it alone.

    Attributes:
        start_s: time of the first tick, once there is a picture.
        ticks_per_s: of the contract's clock in a second of the stream.
        facts: of the stream, after its last picture.

    Args:
        process: decodes; was started with a feed.
        contract: how pictures are to be delivered.
        kind: of what is fed.
        rate: frames a second of the source, which then stand for their times.
        takes_all: every picture is wanted; else those alone that windows look at, counted from the
            first of this process.

    Raises:
        DecoderDied: the process ended before the request.
    """

    def __init__(
        self,
        process: DecodeProcess,
        contract: FeatureContract,
        kind: LiveKind,
        *,
        rate: float | None = None,
        takes_all: bool = True,
    ) -> None:
        self.start_s = 0.0
        self.ticks_per_s = float(contract.fps)
        self.facts: LiveFacts | None = None
        self._process, self._contract = process, contract
        process.send(
            {
                "live": kind,
                "feed": process.feed_end,
                "contract": contract.to_dict(),
                "rate": rate,
                "takes_all": takes_all,
                "slots": SLOTS,
            }
        )

    def feed(self, data: bytes) -> None:
        """Passes bytes on; blocks while the process cannot keep up.

        Raises:
            DecoderDied: the process ended; `pictures` tells why.
        """
        self._process.feed(data)

    def finish(self) -> None:
        """Ends the stream; its last pictures follow."""
        self._process.end_feed()

    def pictures(self) -> Iterator[LivePicture]:
        """Yields every picture that is shown; blocks for the next one.

        Raises:
            VideoRejected: it is no acceptable stream.
            DecoderDied: the process crashed on it, or was killed.
        """
        while self.facts is None:
            for reply in self._process.replies():
                check_reply(reply)
                if "shape" in reply:
                    yield self._picture(reply)
                elif "ticks" in reply:
                    yield _repeated(reply)
                elif "start_s" in reply:
                    with malformed_reply():
                        self.start_s = _positive(reply["start_s"], least=0.0)
                        self.ticks_per_s = _positive(reply["ticks_per_s"], least=1e-3)
                elif "live" in reply:
                    with malformed_reply():
                        self.facts = LiveFacts(**reply["live"])

    def _picture(self, reply: dict[str, Any]) -> LivePicture:
        """Returns a picture, once its stated size is checked against the contract."""
        with malformed_reply():
            shape, offset = tuple(map(int, reply["shape"])), int(reply["offset"])
            if "back" in reply:
                ticks, taken, back = 0, 0, int(reply["back"])
            else:
                ticks, taken, back = int(reply["ticks"]), int(reply["taken"]), 0
        contract = self._contract
        if contract.is_whole and len(shape) == 4:
            height, width = shape[1:3]
            if not 0 < height * width <= self._process.limits.max_pixels:
                raise DecoderDied("a decoding process gave a malformed reply")
            expected = contract.read_shape(width, height)
        else:
            expected = contract.frame_shape
        is_sound = 0 < ticks <= _MOST_TICKS or 0 < back <= contract.window_frames
        if shape != (1, *expected) or offset < 0 or not is_sound:
            raise DecoderDied("a decoding process gave a malformed reply")
        pixels = self._process.read_frames(shape, contract.read_dtype, offset)[0]
        self._process.free_slot()
        return LivePicture(pixels, ticks, taken, back)


def _repeated(reply: dict[str, Any]) -> LivePicture:
    with malformed_reply():
        ticks, taken = int(reply["ticks"]), int(reply["taken"])
    if not 0 < ticks <= _MOST_TICKS:
        raise DecoderDied("a decoding process gave a malformed reply")
    return LivePicture(None, ticks, taken)


def _positive(value: Any, *, least: float) -> float:
    number = float(value)
    if not least <= number < math.inf:
        raise ValueError(f"expected a number from {least}, got {value!r}")
    return number
