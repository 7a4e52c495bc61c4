"""Messages of a live stream, as the server sends them."""

from typing import Any

from clients.errors import ServerFault
from clients.results.parsing import Parsed
from clients.results.predictions import (
    Action,
    Evidence,
    Forecast,
    Lta,
    Oscc,
    Pnr,
    PredictionResult,
    SkillAnswer,
)


class LiveAnswer(Parsed):
    """The answers about the latest segment; tasks that were not requested are None.

    `lag_ms`: from the arrival of the last frame it needed to its being sent.
    """

    from_s: float
    to_s: float
    lag_ms: float
    ar: Action | None = None
    oscc: Oscc | None = None
    pnr: Pnr | None = None
    skills: dict[str, SkillAnswer] | None = None
    evidence: Evidence | None = None


class LiveForecast(Parsed):
    """The next actions, from all that was recognised up to `at_s`."""

    at_s: float
    lag_ms: float
    lta: Lta | None = None
    skills: dict[str, Forecast] | None = None


class LiveAction(Parsed):
    """The beginning or the end of an action that stayed for more than one answer."""

    event: str
    start_s: float
    verb: str
    noun: str
    probability: float
    end_s: float | None = None


class LiveSkipped(Parsed):
    """Windows that were left out, as the server could not keep up."""

    from_s: float
    to_s: float
    windows: int


class LiveSummary(Parsed):
    """The answers about the whole stream, as about a clip; the last message."""

    result: PredictionResult
    skipped: int = 0


LiveMessage = LiveAnswer | LiveForecast | LiveAction | LiveSkipped | LiveSummary

KINDS: dict[str, type[LiveMessage]] = {
    "answer": LiveAnswer,
    "forecast": LiveForecast,
    "action": LiveAction,
    "skipped": LiveSkipped,
    "summary": LiveSummary,
}
"""Type of a message -> its class; others are between client and server."""


def live_message(values: dict[str, Any]) -> LiveMessage | None:
    """Returns a message of the server; None of a kind that callers do not see.

    Raises:
        ServerFault: it is malformed.
    """
    kind = KINDS.get(str(values.get("type")))
    return None if kind is None else kind.from_dict(values)


def check_object(value: Any) -> dict[str, Any]:
    """Returns a JSON object.

    Raises:
        ServerFault: it is something else.
    """
    if not isinstance(value, dict):
        raise ServerFault("a message of the server is not a JSON object")
    return value
