"""Scene of a script: positions, states, hands and camera at any instant.

Frames may be fractional, for motion blur between two.
"""

import bisect
import math
from dataclasses import dataclass

import numpy as np

from tabletop.motion.motions import perform
from tabletop.motion.poses import GRIP_TO_TOOL, REST, XY, Cue, Placed
from tabletop.story.rules import TOOL_OF, TOOLS, Table
from tabletop.story.script import Action, Script

_BACK = tuple((x, -0.36) for x in (-0.84, -0.56, -0.28, 0.0, 0.28, 0.56, 0.84))
_SIDES = ((-0.90, -0.06), (-0.60, -0.07), (0.60, -0.07), (0.90, -0.06))
_NEAR = tuple((x, 0.17) for x in (-0.51, -0.17, 0.17, 0.51))
_LOOKS_ON = {"take": 0.36, "put": 0.25, "move": 0.45, "pour": 0.22, "crack": 0.22}  # of the motion
_LIMIT_X, _TOP_Y, _BOTTOM_Y = 0.95, -0.42, 0.24

Flags = dict[str, float]


@dataclass
class Thing:
    """One thing at one instant; flags between two whole numbers are half way through a change."""

    noun: str
    x: float
    y: float
    angle: float
    lift: float
    flags: Flags
    anchor: XY  # place of loose parts


@dataclass
class Moment:
    """Visible state of one instant.

    Attributes:
        still: things at rest, far ones first.
        live: handled things, in drawing order.
        still_key: equal keys mean equal `still`.
        hands: (x, y) of the left and of the right hand's grip.
        poses: "open", "grip", "point" or "flat".
        stream: (x0, y0, x1, y1) of liquid in the air.
        camera: x, y of the middle of the view.
        zoom: of the camera.
        roll: of the camera, radians.
        gain: brightness of the light.
        acted_on: noun of the current action, "" between actions.
    """

    still: list[Thing]
    live: list[Thing]
    still_key: int
    hands: list[XY]
    poses: list[str]
    stream: tuple[float, float, float, float] | None
    camera: XY
    zoom: float
    roll: float
    gain: float
    acted_on: str = ""


class Scene:
    """State of one video at any instant."""

    def __init__(self, script: Script, rng: np.random.Generator, *, fps: int) -> None:
        """Computes all positions; the same generator state gives the same scene.

        Args:
            script: of the video.
            rng: for places, camera and light.
            fps: frames per second of the script.
        """
        self._fps = fps
        self._actions = script.actions
        self._starts = [action.start for action in script.actions]
        self._tables: list[Table] = [script.initial.copy()]
        homes = _lay_out(script, rng)
        slots = rng.permutation(len(_NEAR)).tolist()
        near = {n: _NEAR[i] for n, i in zip(script.initial.near, slots, strict=False)}
        self._places: list[dict[str, XY]] = [{**homes, **near}]
        self._cues: list[Cue] = []
        for action in script.actions:
            self._enact(action, homes, rng)
        self._still: dict[int, list[Thing]] = {}
        self._lay_camera(script, rng)
        self._drift = rng.uniform(0.0, 2.0 * math.pi, size=4)

    def _enact(self, action: Action, homes: dict[str, XY], rng: np.random.Generator) -> None:
        table, places = self._tables[-1].copy(), dict(self._places[-1])
        noun, begin = action.noun, places[action.noun]
        finish = begin
        if action.verb == "move":
            finish = _free_spot(noun, begin, places, rng)
        elif action.verb == "put":
            finish = homes[noun]
        elif action.verb == "take" and noun not in TOOLS:
            homes[noun] = begin
            finish = _free_slot(begin, [p for n, p in places.items() if n != noun])
        hand = 0 if table.held and table.held != noun else int(begin[0] + finish[0] > 0.0)
        if action.verb == "pour" and not table.held:
            hand = int(action.style[3] < 0.65)
        target_at = places[action.target] if action.target else begin
        self._cues.append(
            Cue(action.verb, noun, action.target, begin, finish, target_at, hand,
                (action.end - action.start) / self._fps,
                (action.key - action.start) / (action.end - action.start), action.style)
        )  # fmt: skip
        table.apply(action.verb, noun)
        places[noun] = finish
        self._tables.append(table)
        self._places.append(places)

    def _lay_camera(self, script: Script, rng: np.random.Generator) -> None:
        frames = script.num_frames + 2
        focus = np.zeros((frames, 2))
        for action, cue, i in zip(script.actions, self._cues, range(frames), strict=False):
            until = script.actions[i + 1].start if i + 1 < len(script.actions) else frames
            turn = action.start + round(_LOOKS_ON.get(cue.verb, 1.0) * (action.end - action.start))
            focus[action.start : turn] = cue.begin
            focus[turn:until] = cue.target_at if cue.target else cue.finish
            if rng.random() < 0.5:  # looks elsewhere before the next action
                focus[min(action.end + 10, until) : until] = rng.uniform((-0.5, -0.3), (0.5, 0.1))
        focus[: self._starts[0]] = rng.uniform((-0.3, -0.2), (0.3, 0.1))
        smooth = _smooth(focus, 0.3 * self._fps)
        seconds = np.arange(frames) / self._fps
        sway = np.zeros((frames, 4))
        for column, size in enumerate((0.035, 0.025, 0.02, 0.03)):
            for rate_hz in (0.11, 0.31, 0.9):
                phase, amount = rng.uniform(0, 2 * math.pi), rng.uniform(0.3, 1.0) * size
                sway[:, column] += amount * np.sin(2 * math.pi * rate_hz * seconds + phase)
        self._camera = smooth * (0.88, 0.55) + sway[:, :2] + (0.0, 0.02)
        self._roll = sway[:, 2] * 1.2
        self._zoom = rng.uniform(1.28, 1.52) * (1.0 + sway[:, 3])
        light = np.ones(frames)
        for _ in range(int(rng.integers(2, 5))):  # passing shadows
            begin, length = int(rng.integers(frames)), int(rng.integers(45, 600))
            light[begin : begin + length] *= rng.uniform(0.72, 1.15)
        self._gain = np.clip(_smooth(light[:, None], 0.25 * self._fps)[:, 0], 0.6, 1.25)

    def state_at(self, frame: int) -> dict[str, dict[str, int]]:
        """Returns noun -> flag -> value; a change happens at its action's key frame."""
        done = sum(action.key <= frame for action in self._actions)
        return self._tables[done].flags

    def at(self, frame: float) -> Moment:
        """Returns the instant at a frame, which may be fractional."""
        i = bisect.bisect_right(self._starts, frame) - 1
        action = self._actions[i] if i >= 0 and frame < self._actions[i].end else None
        whole = min(max(round(frame), 0), len(self._zoom) - 1)
        moment = Moment(
            still=[], live=[], still_key=2 * i + (action is not None), hands=list(REST),
            poses=["open", "open"], stream=None,
            camera=(float(self._camera[whole, 0]), float(self._camera[whole, 1])),
            zoom=float(self._zoom[whole]), roll=float(self._roll[whole]),
            gain=float(self._gain[whole]),
        )  # fmt: skip
        t = frame / self._fps
        a, b, c, d = (0.010 * math.sin(1.3 * t + phase) for phase in self._drift)
        if action is None:
            self._rest(moment, self._tables[i + 1], (c, d))
            moment.still = self._still_things(moment.still_key, i + 1, moment.live)
        else:
            self._act(moment, i, frame, (c, d))
            moment.still = self._still_things(moment.still_key, i, moment.live)
        left, right = moment.hands
        moment.hands = [(left[0] + a, left[1] + b), (right[0] + c, right[1] + d)]
        return moment

    def _rest(self, moment: Moment, table: Table, drift: XY) -> None:
        if table.held:
            moment.live.append(_in_hand(table.held, drift))
            moment.poses[1] = "grip"

    def _act(self, moment: Moment, i: int, frame: float, drift: XY) -> None:
        action, cue, table = self._actions[i], self._cues[i], self._tables[i]
        s = (frame - action.start) / (action.end - action.start)
        moment.acted_on = action.noun
        pose = perform(cue, s)
        moment.hands, moment.poses, moment.stream = pose.hands, pose.poses, pose.stream
        tool = TOOL_OF.get(action.verb)
        for noun in dict.fromkeys(n for n in (action.target, action.noun, tool) if n):
            flags: Flags = {**table.flags[noun]}
            if action.change is not None and action.change[0] == noun:
                _, flag, after = action.change
                flags[flag] += (after - flags[flag]) * pose.change
            if action.verb == "crack" and noun == "bowl":
                flags["yolk"] = pose.change
            x, y = self._places[i][noun]
            at = pose.things.get(noun) or Placed(x, y)
            anchor = (x, y) if action.verb == "pour" else (at.x, at.y)
            moment.live.append(Thing(noun, at.x, at.y, at.angle, at.lift, flags, anchor))
        if table.held and table.held not in (tool, action.noun):
            moment.live.append(_in_hand(table.held, drift))
            moment.poses[1] = "grip"

    def _still_things(self, key: int, i: int, live: list[Thing]) -> list[Thing]:
        if key not in self._still:
            moving = {thing.noun for thing in live}
            flags, places = self._tables[i].flags, self._places[i]
            things = [
                Thing(noun, *places[noun], 0.0, 0.0, {**flags[noun]}, places[noun])
                for noun in flags
                if noun not in moving
            ]
            self._still[key] = sorted(things, key=lambda thing: thing.y)
        return self._still[key]

    def focus_of(self, index: int) -> tuple[Cue, Table]:
        """Returns an action's cue and the table it starts from."""
        return self._cues[index], self._tables[index]


def _in_hand(tool: str, drift: XY) -> Thing:
    x, y = REST[1]
    at = (x + drift[0], y - GRIP_TO_TOOL + drift[1])
    return Thing(tool, *at, 0.0, 0.25, {}, at)


def _lay_out(script: Script, rng: np.random.Generator) -> dict[str, XY]:
    slots = [*_BACK, *_SIDES]
    order = rng.permutation(len(slots))
    places: dict[str, XY] = {}
    for noun, slot in zip(script.nouns, order, strict=False):
        x, y = slots[slot]
        places[noun] = (x + rng.uniform(-0.03, 0.03), y + rng.uniform(-0.03, 0.03))
    return places


def _nearest(point: XY, others: list[XY]) -> float:
    return min((math.hypot(point[0] - x, 1.3 * (point[1] - y)) for x, y in others), default=9.0)


def _free_slot(begin: XY, others: list[XY]) -> XY:
    """Returns the emptiest place in front of the person, close ones preferred."""
    return max(_NEAR, key=lambda p: min(_nearest(p, others), 0.26) - 0.02 * abs(p[0] - begin[0]))


def _free_spot(noun: str, begin: XY, places: dict[str, XY], rng: np.random.Generator) -> XY:
    """Returns a place to push a thing to: some way off, clear of the others if possible."""
    others = [place for other, place in places.items() if other != noun]
    turns = rng.uniform(0.0, 2.0 * math.pi, size=24)
    reach = rng.uniform(0.20, 0.34, size=24)
    spots = [
        (begin[0] + r * math.cos(a), begin[1] + 0.65 * r * math.sin(a))
        for a, r in zip(turns.tolist(), reach.tolist(), strict=True)
    ]
    inside = [p for p in spots if abs(p[0]) < _LIMIT_X and _TOP_Y < p[1] < _BOTTOM_Y]
    return max(inside or spots, key=lambda p: _nearest(p, others))


def _smooth(values: np.ndarray, sigma: float) -> np.ndarray:
    """Returns each column of (N, C) blurred by a Gaussian of `sigma` rows."""
    radius = math.ceil(3 * sigma)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(values, ((radius, radius), (0, 0)), mode="edge")
    return np.stack([np.convolve(column, kernel, mode="valid") for column in padded.T], axis=1)
