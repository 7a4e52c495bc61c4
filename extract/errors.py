"""Errors of extraction, from a clip's bytes to its features.

ExtractError
├── VideoRejected       the caller's bytes are at fault; `code` states the reason
├── DecoderDied         the decoding process crashed or was killed on these bytes
├── DecodeTimeout       decoding outlasted a wall clock, without the CPU time to blame the file
│   └── DecodeStalled   no frame came for too long, whatever the deadline
├── DecoderUnavailable  no decoding process can be started
├── RuntimeUnavailable  the encoder's runtime is not there, or fails
├── ClusterFailed       the Ray cluster is unavailable, or cannot continue
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
    "too-slow",
    "too-slow-for-job",
]


class ExtractError(Exception):
    """Root of the errors between bytes and features."""


class VideoRejected(ExtractError):
    """The clip cannot be used; retrying does not help.

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
    """Decoding did not finish before a wall clock: the machine is busy, or the decoder hangs."""


class DecodeStalled(DecodeTimeout):
    """No frame came within the time limit of a stalled decoder."""


class DecoderUnavailable(ExtractError):
    """No decoding process could be started."""


class RuntimeUnavailable(ExtractError):
    """The encoder's runtime is not installed, does not start, or fails."""


class ClusterFailed(ExtractError):
    """The Ray cluster is unavailable, or cannot start or continue the work."""


class FeatureFileInvalid(ExtractError):
    """A stored feature file is no track, or not one of its whole video; the message names it."""
