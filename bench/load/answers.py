"""Answers of a load, one per call, and their summary."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

HUNG_UP = 0
"""In place of a status: the caller disconnected on purpose."""
LOST = -1
"""In place of a status: the connection ended without an answer."""
REFUSALS = frozenset({429, 503})


@dataclass(frozen=True)
class Answer:
    """One call.

    Attributes:
        clip: name of the clip that was sent.
        status: of HTTP, or `HUNG_UP` or `LOST`.
        code: slug of the problem; empty for a success.
        sent_s: when it was sent, since the load began.
        took_s: until the whole answer was there.
        retry_after_s: of the response; None without the header.
        is_expected: the status is one that this clip may get.
    """

    clip: str
    status: int
    code: str
    sent_s: float
    took_s: float
    retry_after_s: int | None
    is_expected: bool


def summarise(answers: Sequence[Answer], *, elapsed_s: float, slo_s: float) -> dict[str, Any]:
    """Returns the figures of a load of `elapsed_s`, its tail included; times in milliseconds.

    An answer later than `slo_s` is of no use to its caller.
    """
    accepted = [one for one in answers if one.status == 200]
    refused = [one for one in answers if one.status in REFUSALS]
    statuses = Counter(_outcome(one) for one in answers)
    return {
        "calls": len(answers),
        "elapsed_s": round(elapsed_s, 2),
        "answers_per_s": round(len(accepted) / elapsed_s, 3),
        "slo_s": slo_s,
        "goodput_per_s": round(sum(one.took_s <= slo_s for one in accepted) / elapsed_s, 3),
        "outcomes": dict(sorted(statuses.items())),
        "answer_ms": spread([one.took_s for one in accepted]),
        "refusal_ms": spread([one.took_s for one in refused]),
        "retry_after_s": _waits(refused),
        "unexpected": sum(not one.is_expected for one in answers),
    }


def spread(seconds: Sequence[float]) -> dict[str, float] | None:
    """Returns percentiles in milliseconds; None of nothing."""
    if not seconds:
        return None
    ordered = sorted(seconds)
    places = {"p50": 0.50, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {name: round(1000 * percentile(ordered, share), 1) for name, share in places.items()}


def percentile(ordered: Sequence[float], share: float) -> float:
    """Returns the smallest value that at least this share of the sorted values do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _outcome(answer: Answer) -> str:
    match answer.status:
        case 200:
            return "200"
        case int(status) if status == HUNG_UP:
            return "hung up"
        case int(status) if status == LOST:
            return "lost"
        case status:
            return f"{status} {answer.code}".rstrip()


def _waits(refused: Sequence[Answer]) -> dict[str, int] | None:
    waits = [one.retry_after_s for one in refused if one.retry_after_s is not None]
    if not refused:
        return None
    least, most = (min(waits), max(waits)) if waits else (0, 0)
    return {"least": least, "most": most, "missing": len(refused) - len(waits)}
