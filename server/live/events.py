"""Action events: sliding answers -> when an action begins and ends, with hysteresis.

An action takes over when it leads in `CONFIRMATIONS` answers in a row, each at least `SHARE` as
probable as the present one when it last led; or, however improbable, in `INSISTENCE` in a row, so
that one very certain answer does not stand for ever. One answer that differs changes nothing.

A sliding segment is recognised as the action that fills most of it. So an action begins where the
first of its answers has its middle, which is also where the one before ends; the first one begins
with the stream.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from model.predict.outputs import SegmentAnswer

CONFIRMATIONS = 2
INSISTENCE = 4
SHARE = 0.5


@dataclass(frozen=True)
class ActionEvent:
    """The begin or end of an action.

    Attributes:
        event: which of the two.
        start_s: when it began.
        end_s: when it ended; None at its begin.
        verb: label.
        noun: label.
        probability: mean, over the answers in which it led so far, of verb times noun.
    """

    event: Literal["start", "end"]
    start_s: float
    end_s: float | None
    verb: str
    noun: str
    probability: float


@dataclass
class _Action:
    """An action that leads, or led, in some answers."""

    verb: str
    noun: str
    start_s: float
    total: float = 0.0
    count: int = 0
    least: float = 1.0
    last: float = 0.0

    def add(self, probability: float) -> None:
        self.total += probability
        self.count += 1
        self.least = min(self.least, probability)
        self.last = probability

    def is_same(self, verb: str, noun: str) -> bool:
        return (self.verb, self.noun) == (verb, noun)

    def event(self, kind: Literal["start", "end"], end_s: float | None = None) -> ActionEvent:
        mean = self.total / self.count
        return ActionEvent(kind, self.start_s, end_s, self.verb, self.noun, mean)


class ActionEvents:
    """Follows the answers of one stream."""

    def __init__(self) -> None:
        self._present: _Action | None = None
        self._next: _Action | None = None
        self._has_begun = False

    def take(self, answer: SegmentAnswer) -> Iterator[ActionEvent]:
        """Yields what an answer changes; one without recognised action changes nothing."""
        if answer.ar is None:
            return
        verb, noun = answer.ar.verb[0], answer.ar.noun[0]
        probability = verb.probability * noun.probability
        middle_s = (answer.start_s + answer.end_s) / 2 if self._has_begun else answer.start_s
        self._has_begun = True
        if self._present is not None and self._present.is_same(verb.label, noun.label):
            self._present.add(probability)
            self._next = None
            return
        if self._next is None or not self._next.is_same(verb.label, noun.label):
            self._next = _Action(verb.label, noun.label, middle_s)
        self._next.add(probability)
        if self._takes_over(self._next):
            yield from self._end(self._next.start_s)
            self._present, self._next = self._next, None
            yield self._present.event("start")

    def finish(self, end_s: float) -> Iterator[ActionEvent]:
        """Yields the end of the present action, at the end of the stream."""
        yield from self._end(end_s)
        self._present = self._next = None

    def _takes_over(self, action: _Action) -> bool:
        if action.count < CONFIRMATIONS:
            return False
        needed = 0.0 if self._present is None else SHARE * self._present.last
        return action.least >= needed or action.count >= INSISTENCE

    def _end(self, end_s: float) -> Iterator[ActionEvent]:
        if self._present is not None:
            yield self._present.event("end", max(end_s, self._present.start_s))
