"""What can be wrong with a clip.

ExtractError
├── VideoRejected       the caller's bytes are at fault; `code` says how
├── DecoderDied         the decoding process crashed or was killed on these bytes
├── DecodeTimeout       decoding outlasted its deadline
│   └── DecodeStalled   nothing came of it for too long, whatever the deadline
├── DecoderUnavailable  no decoding process can be started
├── RuntimeUnavailable  what should run the encoder is not there, or fails
├── ClusterFailed       the machines that were to share the work cannot
└── FeatureFileInvalid  a stored feature file cannot be read as a track
"""

from typing import Literal

RejectCode = Literal[
    "not-a-video",
    "unsupported-container",
    "unsupported-codec",
    "no-video-track",
    "too-many-pixels",
    "too-long",
    "too-many-frames",
    "too-large",
    "frame-rate-too-high",
    "damaged",
    "too-short",
    "reader-refused",
]


class ExtractError(Exception):
    """Root of everything that can go wrong between bytes and features."""


class VideoRejected(ExtractError):
    """The clip cannot be used, and sending it again will not help.

    Attributes:
        code: stable reason, safe to show to a caller.
        detail: one plain sentence, free of paths and decoder text.
    """

    def __init__(self, code: RejectCode, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        """Keeps both fields when the error crosses a process boundary."""
        return type(self), (self.code, self.detail)


class DecoderDied(ExtractError):
    """The decoding process crashed on these bytes."""


class DecodeTimeout(ExtractError):
    """Decoding did not finish before its deadline."""


class DecodeStalled(DecodeTimeout):
    """No frame came for so long that none will."""


class DecoderUnavailable(ExtractError):
    """No decoding process could be started."""


class RuntimeUnavailable(ExtractError):
    """What was asked to run the encoder is not installed, does not start, or fails."""


class ClusterFailed(ExtractError):
    """There is no cluster to be had, or it cannot do or go on with the work."""


class FeatureFileInvalid(ExtractError):
    """A stored feature file is no track, or not one of its whole video; the message names it."""
