"""Response pieces: the body of a long prediction as JSON, some segments at a time.

Together they are the bytes that the whole body has, which would take many times its size in memory.
Every method may take a while: run them in a thread.
"""

from server.engine import responses
from server.engine.request import ClipResult
from server.schemas.options import PredictOptions

_SEGMENTS = '"segments":['
"""Ends the part of the body before its segments; inside a JSON string its quotes are escaped."""


class PredictionPieces:
    """Makes the pieces of one body, in order."""

    def __init__(self, options: PredictOptions, answer_id: str) -> None:
        """Makes nothing yet; arguments as `responses.prediction`."""
        self._options, self._answer_id = options, answer_id
        self._has_begun = False

    def part(self, found: ClipResult) -> bytes:
        """Returns the next piece: a result's segments and, at first, all that stands before them.

        Args:
            found: has the segments that follow those of the last part.
        """
        segments = ",".join(responses.segments(found, self._options))
        if self._has_begun:
            return f",{segments}".encode() if segments else b""
        head, _ = self._around(found, 0.0)
        self._has_begun = bool(segments)
        return (head + segments).encode() if segments else b""

    def end(self, found: ClipResult, total_s: float) -> bytes:
        """Returns the last piece.

        Args:
            found: everything but the segments.
            total_s: since the request's first byte.
        """
        head, tail = self._around(found, total_s)
        return (tail if self._has_begun else head + tail).encode()

    def _around(self, found: ClipResult, total_s: float) -> tuple[str, str]:
        """The body before its first segment, and after its last one."""
        body = responses.prediction(
            found.without_segments(), self._options, answer_id=self._answer_id, total_s=total_s
        )
        before, mark, after = body.model_dump_json(exclude_none=True).partition(_SEGMENTS)
        return before + mark, after
