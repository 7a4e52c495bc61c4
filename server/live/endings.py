"""Endings of live streams: close codes of the connection, and the error message before it."""

from dataclasses import dataclass

from extract.errors import DecoderDied, VideoRejected
from server import problem_types as kinds
from server.live.outbox import OutboxFull
from server.schemas.problems import problem_from

NORMAL = 1000
GOING_AWAY = 1001
WRONG_KIND = 1003
MALFORMED = 1007
REFUSED = 1008
TOO_LARGE = 1009
INTERNAL = 1011
TRY_LATER = 1013
DROPPED = 1006
"""Never sent: a connection that ended without a close frame."""
STREAM_REFUSED = 4400
UNKNOWN_TOKEN = 4404


@dataclass(frozen=True)
class Ending:
    """How a stream ends.

    Attributes:
        close: code of the connection's close frame.
        code: of the `error` message; empty: none is sent.
        detail: of the `error` message, for people.
    """

    close: int
    code: str = ""
    detail: str = ""


DONE = Ending(NORMAL)
GONE = Ending(NORMAL, "gone", "the client closed the connection")
DRAINING = Ending(GOING_AWAY, kinds.DRAINING.slug, "the server is stopping; open another stream")
SLOW_READER = Ending(REFUSED, "slow-reader", "the messages of the stream are not read")
UNKNOWN = Ending(UNKNOWN_TOKEN, "unknown-token", "there is no such stream to go on with")


def too_long(limit_s: float) -> Ending:
    """Returns the ending of a stream that was cut at its longest time."""
    return Ending(REFUSED, "too-long", f"a stream may last {limit_s:g} s")


def too_large(most: int) -> Ending:
    """Returns the ending of a stream with a message of more bytes than may come in one."""
    return Ending(TOO_LARGE, "message-too-large", f"a message has at most {most} bytes")


def idle(idle_s: float, *, is_silent: bool) -> Ending:
    """Returns the ending of a stream of which nothing new came.

    Args:
        idle_s: for how long.
        is_silent: no message came; else, what came made no window.
    """
    what = "nothing came" if is_silent else "what came made no new window"
    return Ending(REFUSED, "idle", f"{what} for {idle_s:g} s")


def ending_of(error: BaseException) -> Ending:
    """Returns the ending that an exception stands for, and logs one of ours in full."""
    match error:
        case OutboxFull():
            return SLOW_READER
        case VideoRejected():
            return Ending(STREAM_REFUSED, error.code, error.detail)
        case DecoderDied():
            return Ending(STREAM_REFUSED, "decoder-died", "the decoder crashed on this stream")
    problem = problem_from(error)
    return Ending(_close_code(problem.kind), problem.kind.slug, problem.detail)


def _close_code(kind: kinds.ProblemType) -> int:
    if kind is kinds.DRAINING:
        return GOING_AWAY
    if kind is kinds.MALFORMED:
        return MALFORMED
    if kind.status < 500 and not kind.is_retryable:
        return REFUSED
    return TRY_LATER if kind.is_retryable else INTERNAL
