"""Poses of hands and things, rest positions, and interpolation between places.

Lengths are in frame heights at zoom 1; x to the right, y towards the person.
"""

import math
from dataclasses import dataclass, field, replace

from tabletop.story.rules import INVERSE

XY = tuple[float, float]
REST: tuple[XY, XY] = ((-0.34, 0.44), (0.34, 0.44))  # left hand, right hand
GRIP_TO_TOOL = 0.095  # from the hand to the middle of the tool in it
RAMP_S = 0.45  # a state change is seen happening for this long

# part that comes off or swings: where it is at 0 and at 1
PART_PATH: dict[str, tuple[XY, XY]] = {
    "bottle": ((0.0, -0.15), (0.13, 0.10)),
    "book": ((0.10, 0.0), (-0.15, 0.0)),
    "box": ((0.0, -0.03), (0.0, -0.17)),
    "brick": ((0.0, -0.07), (0.19, 0.03)),
    "cloth": ((0.14, 0.0), (-0.13, 0.0)),
    "jar": ((0.0, -0.085), (0.16, 0.085)),
    "paper": ((0.11, 0.0), (-0.10, 0.0)),
    "pen": ((0.10, 0.0), (0.20, 0.045)),
}
HOLD: dict[str, XY] = {  # where the other hand steadies the thing
    "book": (-0.10, 0.09), "bottle": (-0.03, 0.08), "bowl": (-0.12, 0.04), "box": (-0.11, 0.06),
    "brick": (-0.07, 0.05), "cloth": (-0.10, 0.08), "cup": (-0.08, 0.05), "jar": (-0.06, 0.06),
    "paper": (-0.09, 0.09), "pen": (-0.09, 0.01), "plate": (-0.14, 0.03),
}  # fmt: skip


@dataclass(frozen=True)
class Cue:
    """One action as input of a motion.

    Attributes:
        verb: of the action.
        noun: of the action.
        target: container that is poured or cracked into.
        begin: place of the noun before the action.
        finish: place of the noun after it.
        target_at: place of the target.
        hand: of a one-handed action, 0 left or 1 right.
        duration_s: of the whole motion.
        key: fraction of it at which the key moment comes.
        style: four draws in [0, 1).
    """

    verb: str
    noun: str
    target: str | None
    begin: XY
    finish: XY
    target_at: XY
    hand: int
    duration_s: float
    key: float
    style: tuple[float, float, float, float]

    def backwards(self) -> "Cue":
        """Returns the cue of the inverse verb, to be played in reverse."""
        return replace(
            self, verb=INVERSE[self.verb], begin=self.finish, finish=self.begin, key=1.0 - self.key
        )


@dataclass
class Placed:
    """Place of a moving thing: position, turn in radians, height above the table, 0 or more."""

    x: float
    y: float
    angle: float = 0.0
    lift: float = 0.0


@dataclass
class Pose:
    """Pose of one instant of an action; things that are absent stay in place.

    Attributes:
        hands: (x, y) of the left and of the right hand's grip.
        poses: "open", "grip", "point" or "flat", left and right.
        things: noun -> its place.
        change: progress of the state change, 0 to 1.
        stream: (x0, y0, x1, y1) of liquid in the air.
    """

    hands: list[XY] = field(default_factory=lambda: list(REST))
    poses: list[str] = field(default_factory=lambda: ["open", "open"])
    things: dict[str, Placed] = field(default_factory=dict)
    change: float = 0.0
    stream: tuple[float, float, float, float] | None = None


def ease(s: float, a: float, b: float) -> float:
    """Returns 0 before a, 1 after b and a smooth step between."""
    if s <= a:
        return 0.0
    if s >= b:
        return 1.0
    u = (s - a) / (b - a)
    return u * u * (3.0 - 2.0 * u)


def between(p: XY, q: XY, u: float) -> XY:
    """Returns the point a fraction u of the way from p to q."""
    return p[0] + (q[0] - p[0]) * u, p[1] + (q[1] - p[1]) * u


def part_at(noun: str, value: float) -> XY:
    """Returns the place of the noun's moving part, relative to the noun, at a state in [0, 1]."""
    start, stop = PART_PATH[noun]
    x, y = between(start, stop, value)
    return x, y - 0.05 * math.sin(math.pi * value)


def visit(rest: XY, there: XY, s: float, arrive: float, leave: float) -> XY:
    """Returns a hand that goes there, stays from `arrive` to `leave` and comes back."""
    if s < leave:
        return between(rest, there, ease(s, 0.0, arrive))
    return between(there, rest, ease(s, leave, 1.0))


def plus(p: XY, dx: float, dy: float) -> XY:
    """Returns the point moved."""
    return p[0] + dx, p[1] + dy


def swing(cue: Cue, s: float, a: float, b: float, rate_hz: float) -> float:
    """Returns an oscillation in [-1, 1] between fractions a and b, 0 outside."""
    if not a < s < b:
        return 0.0
    fade = min(1.0, (s - a) / 0.06, (b - s) / 0.06)
    return fade * math.sin(2.0 * math.pi * rate_hz * (s - a) * cue.duration_s)


def ramp(cue: Cue, s: float, seconds: float = RAMP_S) -> float:
    """Returns the progress of the state change, which starts at the key moment."""
    return ease(s, cue.key, cue.key + seconds / cue.duration_s)
