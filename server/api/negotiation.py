"""Content negotiation: the headers `Prefer` (RFC 7240), `Accept` and `Allow` (RFC 9110)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.routing import BaseRoute, Match

from server.errors import FieldInvalid, NotAcceptable

MAX_WAIT_S = 60

MAX_LENGTH_DIGITS = 18
"""Digits of a number in a header: more bytes than any disk has."""


@dataclass(frozen=True)
class Preference:
    """The parsed `Prefer` header.

    Attributes:
        is_async: `respond-async`: the request becomes a job.
        wait_s: seconds to wait for the job's result before the response.
    """

    is_async: bool = False
    wait_s: int | None = None

    @property
    def applied(self) -> str:
        """Value of the `Preference-Applied` header."""
        return "respond-async" + ("" if self.wait_s is None else f", wait={self.wait_s}")


def parse_length(text: str) -> int | None:
    """Returns a length in bytes, or another count, from a header; None if it is no such number.

    Digits beyond `MAX_LENGTH_DIGITS` are no number: converting them would take time or fail.
    """
    digits = text.lstrip("0") or text[:1]
    is_number = text.isascii() and text.isdecimal() and len(digits) <= MAX_LENGTH_DIGITS
    return int(digits) if is_number else None


def preference_of(headers: Mapping[str, str]) -> Preference:
    """Returns the parsed `Prefer` header; unknown preferences are ignored, as RFC 7240 allows.

    Raises:
        FieldInvalid: `wait` is not a number of seconds.
    """
    given: dict[str, str] = {}
    for part in headers.get("prefer", "").split(","):
        name, _, value = part.partition(";")[0].strip().partition("=")
        given.setdefault(name.strip().lower(), value.strip().strip('"'))
    wait_s = None
    if "respond-async" in given and "wait" in given:
        if (seconds := parse_length(given["wait"])) is None:
            raise FieldInvalid(("/prefer/wait", "give a whole number of seconds"))
        wait_s = min(seconds, MAX_WAIT_S)
    return Preference("respond-async" in given, wait_s)


def accepted(request: Request, offers: Sequence[str]) -> str:
    """Returns the content type that the caller prefers among those of an endpoint.

    Args:
        request: its `Accept` header decides; default: any type.
        offers: in the server's order of preference.

    Raises:
        NotAcceptable: none of them is accepted.
    """
    ranges = [_media_range(text) for text in request.headers.get("accept", "*/*").split(",")]
    quality = {offer: _quality(offer, ranges) for offer in offers}
    best = max(offers, key=lambda offer: quality[offer])  # the first of equals
    if quality[best] <= 0:
        raise NotAcceptable(f"this endpoint answers with {' or '.join(offers)}")
    return best


def _media_range(text: str) -> tuple[str, float]:
    name, *parameters = (piece.strip().lower() for piece in text.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                return name, float(value)
            except ValueError:
                return name, 0.0
    return name, 1.0


def _quality(offer: str, ranges: list[tuple[str, float]]) -> float:
    """The quality of the most specific range that matches (RFC 9110, section 12.5.1)."""
    for pattern in (offer, f"{offer.partition('/')[0]}/*", "*/*"):
        found = [quality for name, quality in ranges if name == pattern]
        if found:
            return max(found)
    return 0.0


def allowed(request: Request, routes: Iterable[BaseRoute]) -> dict[str, str]:
    """Returns the `Allow` header of a path: the methods of all its routes.

    The framework names those of the first one alone. A path that is spelt out goes before one with
    parameters.

    Args:
        request: for a method that the path does not take.
        routes: of the API.
    """
    found = [
        route
        for route in routes
        if isinstance(route, APIRoute) and route.matches(request.scope)[0] is not Match.NONE
    ]
    spelt = [route for route in found if not route.param_convertors] or found
    return {"Allow": ", ".join(sorted({name for route in spelt for name in route.methods or ()}))}
