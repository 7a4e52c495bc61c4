"""Groups of pictures that go to a decoder together, as a trip of one costs more than decoding it.

Nothing is answered later for it: a group ends with each picture that may complete a window.
"""

import math
import struct
from typing import NamedTuple

from extract.contract import FeatureContract

MOST_PICTURES = 8
"""In a group: what is left to be decoded when a window's last picture comes is little."""

MOST_BYTES = 2**19


class Message(NamedTuple):
    """A message of a stream.

    Attributes:
        data: for the decoder.
        arrived_s: when it came.
    """

    data: bytes
    arrived_s: float


class PictureGroup:
    """The pictures of a stream that were not passed on yet.

    Args:
        contract: of the windows.
        rate: frames a second that stand for the times of the source; None: its own times.
    """

    def __init__(self, contract: FeatureContract, rate: float | None) -> None:
        self._fps, self._rate = contract.fps, rate
        self._window, self._stride = contract.window_frames, contract.stride_frames
        self._waiting: list[Message] = []
        self._bytes = self._count = 0
        self._first_s: float | None = None
        self._ends = 0  # windows that end at or before the last picture
        self._is_open = True  # what the last picture of a window is may not be certain yet
        self._is_due = True

    def add(self, message: Message) -> None:
        """Adds a picture: its time in seconds, a little-endian double, then more."""
        self._waiting.append(message)
        self._bytes += len(message.data)
        (time_s,) = struct.unpack_from("<d", message.data)
        if self._rate is not None:
            time_s = self._count / self._rate
        elif self._first_s is None:
            self._first_s = time_s
        self._count += 1
        frames = (time_s - (self._first_s or 0.0)) * self._fps
        ends = self._ends_until(frames)
        has_ended = ends != self._ends
        self._is_due = has_ended or self._is_open
        # Known with the next picture only, or, where times jump, once they have caught up.
        is_behind = frames < self._window + (ends - 1) * self._stride
        self._is_open = has_ended or (self._is_open and is_behind)
        self._ends = ends

    @property
    def is_due(self) -> bool:
        """Whether its pictures may complete a window, or are many."""
        is_full = len(self._waiting) >= MOST_PICTURES or self._bytes >= MOST_BYTES
        return bool(self._waiting) and (self._is_due or is_full)

    def take(self) -> list[Message]:
        """Returns the pictures, which are in the group no more."""
        taken, self._waiting, self._bytes = self._waiting, [], 0
        return taken

    def _ends_until(self, frames: float) -> int:
        """Counts the windows of an endless stream that end by a time in frames, to the nearest."""
        if not math.isfinite(frames):
            return self._ends  # the decoder refuses it
        return max(0, (round(frames) - (self._window - 1)) // self._stride + 1)
