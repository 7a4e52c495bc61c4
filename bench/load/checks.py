"""Pass/fail checks of a load."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Check:
    """One check.

    Attributes:
        name: of the quantity.
        wanted: in words.
        found: in words.
        is_met: whether it passed.
    """

    name: str
    wanted: str
    found: str
    is_met: bool


def at_most(name: str, found: float | None, limit: float, unit: str) -> Check:
    """A quantity and its upper limit; not measured is not met."""
    shown = "not measured" if found is None else f"{found:g} {unit}"
    return Check(name, f"at most {limit:g} {unit}", shown, found is not None and found <= limit)


def none_of(name: str, found: int) -> Check:
    """Number of events that must not happen."""
    return Check(name, "none", str(found), found == 0)


def unharmed(load: dict[str, Any], other_answers: str) -> list[Check]:
    """The events that no server may have under load; the last is named by the caller."""
    outcomes: dict[str, int] = load["outcomes"]
    faults = sum(count for outcome, count in outcomes.items() if outcome.startswith("5"))
    return [
        none_of("answers of 5xx", faults),
        none_of("interruptions", int(load["interrupted"])),
        none_of("connections lost", outcomes.get("lost", 0)),
        none_of(other_answers, load["unexpected"]),
    ]


def judged(checks: Sequence[Check]) -> dict[str, Any]:
    """Returns the checks as plain values, and whether all were met."""
    return {
        "checks": [asdict(check) for check in checks],
        "passed": all(check.is_met for check in checks),
    }


def lines(figures: dict[str, Any]) -> list[str]:
    """Returns the checks as text."""
    return [
        f"{'ok    ' if check['is_met'] else 'FAILED'} {check['name']}: "
        f"{check['found']} (wanted: {check['wanted']})"
        for check in figures.get("checks", [])
    ]
