"""Motion of each verb: the pose of hands and things at a fraction of an action."""

import math
from collections.abc import Callable

from tabletop.motion.poses import (
    GRIP_TO_TOOL,
    HOLD,
    RAMP_S,
    REST,
    XY,
    Cue,
    Placed,
    Pose,
    between,
    ease,
    part_at,
    plus,
    ramp,
    swing,
    visit,
)
from tabletop.story.rules import INVERSE, TOOLS


def _take(cue: Cue, s: float) -> Pose:
    pose = Pose()
    if cue.noun in TOOLS:
        held = plus(REST[1], 0.0, -GRIP_TO_TOOL)
        x, y = between(cue.begin, held, ease(s, cue.key, 0.97))
        pose.things[cue.noun] = Placed(x, y, 0.0, 0.25 * ease(s, cue.key, 0.6))
        grip = plus(cue.begin, 0.0, GRIP_TO_TOOL)
        pose.hands[1] = (
            between(REST[1], grip, ease(s, 0.0, cue.key - 0.04))
            if s < cue.key
            else (x, y + GRIP_TO_TOOL)
        )
        pose.poses[1] = "grip" if s > cue.key - 0.06 else "open"
        return pose
    carry_end = cue.key + 0.38
    u = ease(s, cue.key, carry_end)
    x, y = between(cue.begin, cue.finish, u)
    lift = math.sin(math.pi * u) * (0.5 + 0.4 * cue.style[0])
    pose.things[cue.noun] = Placed(x, y - 0.06 * lift, 0.15 * lift * (cue.style[1] - 0.5), lift)
    grip = (0.035 if cue.hand else -0.035, 0.03)
    hand = REST[cue.hand]
    if s < cue.key:
        hand = between(hand, plus(cue.begin, *grip), ease(s, 0.0, cue.key - 0.05))
    elif s < carry_end + 0.04:
        hand = plus((x, y - 0.06 * lift), *grip)
    else:
        hand = between(plus(cue.finish, *grip), hand, ease(s, carry_end + 0.04, 1.0))
    pose.hands[cue.hand] = hand
    pose.poses[cue.hand] = "grip" if cue.key - 0.06 < s < carry_end + 0.04 else "open"
    return pose


def _open(cue: Cue, s: float) -> Pose:
    """Opens, detaches and folds: the main hand works the part, then carries it along its path."""
    pose = Pose(change=ramp(cue, s))
    carried = min(cue.key + (RAMP_S + 0.1) / cue.duration_s, 0.84)
    dx, dy = part_at(cue.noun, pose.change)
    if cue.noun in ("jar", "bottle"):
        turn = swing(cue, s, 0.2, cue.key, 1.6 + cue.style[0])
        dx, dy = dx + 0.022 * turn, dy + 0.008 * abs(turn)
    elif cue.noun in ("brick", "pen"):
        dx += 0.012 * swing(cue, s, 0.25, cue.key, 2.2)
    elif cue.noun in ("cloth", "paper"):
        dy += 0.07
    pose.hands[1] = visit(REST[1], plus(cue.begin, dx, dy), s, 0.2, carried)
    pose.poses[1] = "grip" if 0.18 < s < carried else "open"
    if cue.noun in ("cloth", "paper"):
        hold = plus(cue.begin, dx - 0.04, dy - 0.15)
    else:
        hold = plus(cue.begin, *HOLD[cue.noun])
    pose.hands[0] = visit(REST[0], hold, s, 0.22, max(carried, 0.8))
    pose.poses[0] = "flat" if cue.noun in ("book", "box") else "grip" if s > 0.2 else "open"
    return pose


def _press(cue: Cue, s: float) -> Pose:
    pose = Pose(change=1.0 if s >= cue.key else 0.0)
    down = 0.03 * (ease(s, cue.key - 0.08, cue.key) - ease(s, cue.key, cue.key + 0.08))
    at = plus(cue.begin, 0.05 if cue.noun == "radio" else 0.0, 0.07 + down)
    pose.hands[cue.hand] = visit(REST[cue.hand], at, s, cue.key - 0.1, cue.key + 0.14)
    pose.poses[cue.hand] = "point"
    return pose


def _there_and_back(rest: XY, at: XY, s: float, leave: float) -> XY:
    if s < 0.5:
        return between(rest, at, ease(s, 0.0, 0.18))
    return between(at, rest, ease(s, leave, 1.0))


def _steady(pose: Pose, cue: Cue, at: XY, s: float, grip: str = "grip") -> Pose:
    """The left hand holds the thing at an offset `at` while the right one works."""
    pose.hands[0] = visit(REST[0], plus(cue.begin, *at), s, 0.2, 0.85)
    pose.poses[0] = grip
    return pose


def _with_tool(pose: Pose, tool: str, tip: XY, angle: float, s: float, a: float, b: float) -> None:
    """Holds the tool's working end at `tip` between fractions a and b, with the hand behind it."""
    held = plus(REST[1], 0.0, -GRIP_TO_TOOL)
    reach = 0.0 if tool == "sponge" else 0.085
    dx, dy = math.sin(angle), -math.cos(angle)
    at = (tip[0] - dx * reach, tip[1] - dy * reach)
    u = ease(s, 0.0, a) - ease(s, b, 1.0)
    x, y = between(held, at, u)
    angle *= u
    pose.things[tool] = Placed(x, y, angle, 0.25)
    pose.hands[1] = (x - math.sin(angle) * GRIP_TO_TOOL, y + math.cos(angle) * GRIP_TO_TOOL)
    pose.poses[1] = "grip"


def _cut(cue: Cue, s: float) -> Pose:
    pose = Pose(change=ramp(cue, s, 0.25))
    stroke = abs(swing(cue, s, 0.2, 0.84, 0.9 + 0.4 * cue.style[0]))
    x = cue.begin[0] + (0.04 if cue.noun == "bread" else 0.03) + 0.01 * stroke
    _with_tool(pose, "knife", (x, cue.begin[1] + 0.035 - 0.10 * stroke), -0.35, s, 0.18, 0.86)
    return _steady(pose, cue, (-0.135, 0.03), s)


def _peel(cue: Cue, s: float) -> Pose:
    pose = Pose(change=ramp(cue, s, 0.3))
    stroke = swing(cue, s, 0.2, 0.84, 0.9 + 0.4 * cue.style[0])
    tip = (cue.begin[0] + 0.035 + 0.085 * stroke, cue.begin[1] - 0.01)
    _with_tool(pose, "knife", tip, -1.0, s, 0.18, 0.86)
    return _steady(pose, cue, (-0.12, 0.02), s)


def _wipe(cue: Cue, s: float) -> Pose:
    pose = Pose(change=ramp(cue, s, 0.3))
    side = swing(cue, s, 0.18, 0.84, 1.3 + 0.7 * cue.style[0])
    drift = 0.03 * math.sin(5.0 * s + 6.0 * cue.style[1])
    tip = (cue.begin[0] + 0.02 + 0.13 * side, cue.begin[1] + drift)
    _with_tool(pose, "sponge", tip, 0.25 * side, s, 0.18, 0.86)
    return _steady(pose, cue, HOLD[cue.noun], s, "flat")


def _stir(cue: Cue, s: float) -> Pose:
    pose = Pose()
    turn = 2.0 * math.pi * (1.2 + 0.8 * cue.style[0]) * s * cue.duration_s
    if cue.style[1] < 0.5:
        turn = -turn
    radius = 0.06 if cue.noun == "bowl" else 0.038
    top = plus(cue.begin, 0.0, -0.05)
    tip = (top[0] + radius * math.cos(turn), top[1] + 0.5 * radius * math.sin(turn))
    _with_tool(pose, "spoon", tip, -0.95 + 0.2 * math.cos(turn), s, 0.2, 0.84)
    return _steady(pose, cue, HOLD[cue.noun], s)


def _pour(cue: Cue, s: float) -> Pose:
    assert cue.target is not None
    pose = Pose(change=ramp(cue, s, 0.8))
    side = 1.0 if cue.hand else -1.0  # the mouth points away from the pouring hand
    over = plus(cue.target_at, 0.155 * side, -0.15)
    u = ease(s, 0.2, 0.36) - ease(s, 0.76, 0.88)
    tilt = ease(s, 0.36, cue.key) - ease(s, cue.key + 0.16, 0.76)
    x, y = between(cue.begin, over, u)
    angle = -side * 1.75 * tilt
    pose.things[cue.noun] = Placed(x, y, angle, 0.5 * u)
    grip = (0.06 * side * (1.0 - 0.4 * tilt), 0.03 * (1.0 - tilt))
    at = (x + grip[0], y + grip[1])
    pose.hands[cue.hand] = _there_and_back(REST[cue.hand], at, s, 0.89)
    pose.poses[cue.hand] = "grip"
    if cue.key - 0.01 <= s < cue.key + 0.19:
        mouth = (x - side * 0.145, y - 0.01)
        pose.stream = (mouth[0], mouth[1], cue.target_at[0], cue.target_at[1] - 0.03)
    return pose


def _crack(cue: Cue, s: float) -> Pose:
    pose = Pose(change=ramp(cue, s, 0.3))
    rim = plus(cue.target_at, 0.02, -0.10)
    u = ease(s, 0.18, 0.32) - ease(s, cue.key + 0.14, 0.86)
    knock = abs(swing(cue, s, 0.32, cue.key, 1.0 + 0.5 * cue.style[0]))
    x, y = between(cue.begin, rim, u)
    y += 0.055 * knock
    pose.things[cue.noun] = Placed(x, y, 0.0, 0.4 * u)
    at = plus((x, y), 0.05, 0.02)
    pose.hands[1] = _there_and_back(REST[1], at, s, 0.87)
    pose.hands[0] = visit(REST[0], plus(rim, -0.06, 0.03), s, 0.3, cue.key + 0.16)
    pose.poses = ["grip", "grip"]
    return pose


def _shake(cue: Cue, s: float) -> Pose:
    pose = Pose()
    up = ease(s, 0.2, 0.3) - ease(s, 0.76, 0.86)
    jolt = swing(cue, s, 0.28, 0.78, 2.6 + 1.2 * cue.style[0])
    x, y = between(cue.begin, (0.85 * cue.begin[0], min(cue.begin[1] + 0.18, 0.10)), up)
    x += 0.025 * jolt * (cue.style[1] - 0.5)
    y += 0.065 * jolt
    _carry(pose, cue, s, Placed(x, y, 0.25 * jolt * (cue.style[2] - 0.5), 0.7 * up))
    return pose


def _inspect(cue: Cue, s: float) -> Pose:
    pose = Pose()
    up = ease(s, 0.2, 0.34) - ease(s, 0.74, 0.86)
    turn = swing(cue, s, 0.3, 0.78, 0.4 + 0.25 * cue.style[0])
    x, y = between(cue.begin, (0.85 * cue.begin[0], min(cue.begin[1] + 0.2, 0.12)), up)
    _carry(pose, cue, s, Placed(x, y, 0.95 * turn * (1 if cue.style[1] < 0.5 else -1), 1.0 * up))
    if cue.style[2] < 0.6:
        other = 1 - cue.hand
        at = (x + (0.09 if other else -0.09), y + 0.02)
        pose.hands[other] = visit(REST[other], at, s, 0.34, 0.72)
        pose.poses[other] = "grip"
    return pose


def _carry(pose: Pose, cue: Cue, s: float, thing: Placed) -> None:
    """Moves the hand to the thing, along with it, and back to rest."""
    pose.things[cue.noun] = thing
    at = (thing.x + (0.045 if cue.hand else -0.045), thing.y + 0.035)
    pose.hands[cue.hand] = _there_and_back(REST[cue.hand], at, s, 0.87)
    pose.poses[cue.hand] = "grip" if 0.15 < s < 0.88 else "open"


def _move(cue: Cue, s: float) -> Pose:
    pose = Pose()
    x, y = between(cue.begin, cue.finish, ease(s, 0.26, 0.74))
    _carry(pose, cue, s, Placed(x, y, 0.06 * math.sin(math.pi * s) * (cue.style[0] - 0.5)))
    if cue.style[1] < 0.5:
        pose.poses[cue.hand] = "flat"
    return pose


def _touch(cue: Cue, s: float) -> Pose:
    pose = Pose()
    tap = abs(swing(cue, s, 0.22, 0.80, 0.7 + 0.5 * cue.style[0]))
    slide = 0.05 * math.sin(7.0 * s + 6.0 * cue.style[1])
    at = plus(cue.begin, slide + 0.02, 0.045 - 0.07 * tap)
    pose.hands[cue.hand] = visit(REST[cue.hand], at, s, 0.2, 0.82)
    pose.poses[cue.hand] = "point"
    return pose


_MOTIONS: dict[str, Callable[[Cue, float], Pose]] = {
    "crack": _crack,
    "cut": _cut,
    "detach": _open,
    "fold": _open,
    "inspect": _inspect,
    "move": _move,
    "open": _open,
    "peel": _peel,
    "pour": _pour,
    "shake": _shake,
    "stir": _stir,
    "take": _take,
    "touch": _touch,
    "turn-on": _press,
    "wipe": _wipe,
}


def perform(cue: Cue, s: float) -> Pose:
    """Returns the instant at a fraction s of the action.

    An inverse verb is its partner in reverse, so that only the order in time differs.
    """
    if cue.verb not in INVERSE:
        return _MOTIONS[cue.verb](cue, s)
    forwards = cue.backwards()
    pose = _MOTIONS[forwards.verb](forwards, 1.0 - s)
    pose.change = 1.0 - pose.change
    return pose
