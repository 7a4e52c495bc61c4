"""Simulation of shared CPU cores under Linux's fair scheduler.

Time is divided by weight, among sessions first if Linux groups them, then among the threads of
each; a thread gets at most one core, and unused time goes to the others.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simpy import Environment, Event

_NEARLY_S = 1e-9
"""Less work than this is none."""


def weight_of(niceness: int) -> float:
    """Returns the share of time of a niceness, beside 1 for a niceness of 0."""
    return float(1.25**-niceness)


def fill(whole: float, wants: Sequence[tuple[float, float]]) -> list[float]:
    """Divides a whole among wants (weight, most); a surplus above a limit goes to the others."""
    given = [0.0] * len(wants)
    open_ = set(range(len(wants)))
    left = whole
    while open_ and left > 0:
        weight = sum(wants[i][0] for i in open_)
        full = {i for i in open_ if wants[i][1] <= left * wants[i][0] / weight}
        if not full:
            for i in open_:
                given[i] = left * wants[i][0] / weight
            break
        for i in full:
            given[i] = wants[i][1]
        left -= sum(given[i] for i in full)
        open_ -= full
    return given


@dataclass(frozen=True)
class Session:
    """A session, whose threads share one portion of the time.

    Attributes:
        name: unlike any other's.
        niceness: of the session as a whole.
    """

    name: str
    niceness: int = 0


@dataclass(eq=False)
class _Work:
    left_s: float
    threads: int
    weight: float
    session: Session
    done: Event
    rate: float = 0.0


class Cores:
    """A few cores and the work on them."""

    def __init__(
        self, env: Environment, count: int, *, slowdown: float = 1.0, grouped: bool = True
    ) -> None:
        """Begins idle; time goes to sessions first if these are grouped.

        `slowdown` is how much longer work takes on a core while all others are busy too.
        """
        self._env, self.count = env, count
        self._slowdown, self._grouped = slowdown, grouped
        self._works: list[_Work] = []
        self._seen_s = 0.0
        self._turn = 0
        self.busy_s = 0.0

    def work(self, cpu_s: float, session: Session, *, niceness: int = 0, threads: int = 1) -> Event:
        """Returns the event of some work of a session's threads being done.

        `cpu_s` are seconds of one core that has no neighbours, divided among the threads.
        """
        done = self._env.event()
        if cpu_s <= _NEARLY_S:
            done.succeed()
            return done
        self._advance()
        self._works.append(_Work(cpu_s, threads, threads * weight_of(niceness), session, done))
        self._plan()
        return done

    def _advance(self) -> None:
        """Subtracts the work done since the last call."""
        passed_s = self._env.now - self._seen_s
        self._seen_s = self._env.now
        for one in self._works:
            one.left_s -= passed_s * one.rate
            self.busy_s += passed_s * one.rate

    def _plan(self) -> None:
        """Divides the cores again and schedules the next completion."""
        self._share()
        self._turn += 1
        if not self._works:
            return
        next_s = min((max(0.0, w.left_s) / w.rate for w in self._works if w.rate), default=math.inf)
        turn = self._turn
        self._env.timeout(next_s).callbacks.append(lambda _: self._wake(turn))

    def _wake(self, turn: int) -> None:
        if turn != self._turn:
            return  # the cores have been divided anew since
        self._advance()
        over = [one for one in self._works if one.left_s <= _NEARLY_S]
        self._works = [one for one in self._works if one.left_s > _NEARLY_S]
        for one in over:
            one.done.succeed()
        self._plan()

    def _share(self) -> None:
        """Divides among sessions, then among the threads of each; or among all threads alike."""
        if self._grouped:
            sessions: dict[Session, list[_Work]] = {}
            for one in self._works:
                sessions.setdefault(one.session, []).append(one)
            members = list(sessions.values())
            wants = [(weight_of(s.niceness), self._most(ones)) for s, ones in sessions.items()]
        else:
            members = [[one] for one in self._works]
            wants = [(one.weight, self._most([one])) for one in self._works]
        portions = fill(self.count, wants)
        neighbours = max(0.0, sum(portions) - 1) / max(1, self.count - 1)
        pace = 1 / (1 + (self._slowdown - 1) * neighbours)
        for ones, portion in zip(members, portions, strict=True):
            shares = fill(portion, [(one.weight, float(one.threads)) for one in ones])
            for one, share in zip(ones, shares, strict=True):
                one.rate = share * pace

    def _most(self, works: Sequence[_Work]) -> float:
        """Cores that some works can keep busy."""
        return float(min(self.count, sum(one.threads for one in works)))
