"""What a live stream is and was, in words that need no video library."""

import struct
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

LiveKind = Literal["container", "pictures"]
"""What a pipe carries: a file from its beginning, or records of a picture each."""

PICTURE_HEAD = struct.Struct("<dI")
"""Before a picture: its time in seconds, and its bytes."""


@dataclass(frozen=True)
class LiveFacts:
    """Facts of a stream that ended.

    Attributes:
        frames: that were decoded and shown.
        late: that came too late to be shown, by their time.
        refused: packets or pictures that could not be decoded.
        width: as used.
        height: as `width`.
        codec: of its frames.
    """

    frames: int
    late: int
    refused: int
    width: int
    height: int
    codec: str


class LiveSink(Protocol):
    """Consumer of a stream's pictures."""

    def begin(self, start_s: float, ticks_per_s: float) -> None:
        """Called before the first picture: time of the first tick, and ticks in a second."""

    def append(self, picture: np.ndarray, ticks: int, taken: int) -> None:
        """Takes the picture of the next ticks.

        Args:
            picture: (H, W, 3) of the contract's `read_shape`.
            ticks: that show it.
            taken: bytes of the stream that were read by then.
        """

    def repeat(self, ticks: int, taken: int, *, is_awaited: bool) -> None:
        """Takes more ticks of the picture before, or such that no window looks at.

        Args:
            ticks: that follow.
            taken: as of `append`.
            is_awaited: a window ends with them.
        """

    def amend(self, picture: np.ndarray, back: int) -> None:
        """Takes, at the end, the picture of a tick of which the last window wants it after all.

        Args:
            picture: as of `append`.
            back: which tick; 1 is the last one.
        """
