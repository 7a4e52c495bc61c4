"""What a check finds."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: was looked at.
        state: well, note (it works, but may surprise) or wrong.
        detail: what was found.
        advice: what to do; empty if all is well.
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
    """Returns the finding that all is well."""
    return Finding(what, "well", detail)


def wrong(what: str, detail: str, advice: str) -> Finding:
    """Returns the finding that something does not work."""
    return Finding(what, "wrong", detail, advice)
