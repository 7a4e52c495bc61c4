"""The `Prefer` header (RFC 7240): whether a caller would rather come back for the answer."""

from collections.abc import Mapping
from dataclasses import dataclass

from server.errors import FieldInvalid

MAX_WAIT_S = 60


@dataclass(frozen=True)
class Preference:
    """What a caller prefers.

    Attributes:
        is_async: an answer later, by way of a job.
        wait_s: how long to wait for it all the same.
    """

    is_async: bool = False
    wait_s: int | None = None

    @property
    def applied(self) -> str:
        """What `Preference-Applied` says of it."""
        return "respond-async" + ("" if self.wait_s is None else f", wait={self.wait_s}")


def preference_of(headers: Mapping[str, str]) -> Preference:
    """Returns what the headers say; preferences that we do not know are left out, as they may be.

    Raises:
        FieldInvalid: `wait` is not a number of seconds.
    """
    given: dict[str, str] = {}
    for part in headers.get("prefer", "").split(","):
        name, _, value = part.partition(";")[0].strip().partition("=")
        given.setdefault(name.strip().lower(), value.strip().strip('"'))
    wait_s = None
    if "respond-async" in given and "wait" in given:
        if not (given["wait"].isascii() and given["wait"].isdecimal()):
            raise FieldInvalid(("/prefer/wait", "give a whole number of seconds"))
        wait_s = min(int(given["wait"][:9]), MAX_WAIT_S)
    return Preference("respond-async" in given, wait_s)
