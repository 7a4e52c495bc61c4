"""Replies of a decoding process, validated like the hostile file that it has read."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from extract.decode.clip import ClipInfo, Notice
from extract.errors import DecoderDied, RejectCode, VideoRejected


@contextmanager
def malformed_reply() -> Iterator[None]:
    """Raises DecoderDied where a reply lacks a value, or has one of another kind."""
    try:
        yield
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise DecoderDied("a decoding process gave a malformed reply") from error


def check_reply(reply: dict[str, Any]) -> None:
    """Raises the error that a reply states, if it does.

    Raises:
        VideoRejected: the file is no acceptable video.
        DecoderDied: decoding failed, or the reply is malformed.
    """
    if "rejected" in reply:
        with malformed_reply():
            code, detail = reply["rejected"]
        raise VideoRejected(cast(RejectCode, code), str(detail))
    if "failed" in reply:
        raise DecoderDied(str(reply["failed"]))


def facts_in(reply: dict[str, Any]) -> tuple[ClipInfo, tuple[Notice, ...]]:
    """Returns the facts and the notices in the last reply on a file.

    Raises:
        DecoderDied: the reply is malformed.
    """
    with malformed_reply():
        notices = (Notice(str(one["code"]), str(one["detail"])) for one in reply["notices"])
        return ClipInfo(**reply["info"]), tuple(notices)
