"""Result of a check."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        what: subject of the check.
        state: well, note (works with a restriction) or wrong.
        detail: what was found.
        advice: remedy; empty if all is well.
    """

    what: str
    state: Literal["well", "note", "wrong"]
    detail: str
    advice: str = ""

    def __str__(self) -> str:
        mark = {"well": "ok   ", "note": "note ", "wrong": "WRONG"}[self.state]
        text = f"{mark}  {self.what:<12} {self.detail}"
        return f"{text}\n{' ' * 20}-> {self.advice}" if self.advice else text


def well(what: str, detail: str) -> Finding:
    """Returns the finding of a check that passed."""
    return Finding(what, "well", detail)


def wrong(what: str, detail: str, advice: str) -> Finding:
    """Returns the finding of a check that failed."""
    return Finding(what, "wrong", detail, advice)
