"""What a live stream is and was, in words that need no video library."""

import struct
from dataclasses import dataclass
from typing import Literal

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
