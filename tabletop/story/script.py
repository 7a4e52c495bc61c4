"""Script of a video: its timed actions, from recipes and a seed."""

import uuid
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from tabletop.story.episode import Choices, Episode, Simulator
from tabletop.story.recipes import DESK, FAVOUR, KITCHEN, SPLITS, nouns_of
from tabletop.story.rules import CHANGING, FIXED, FLAGS, INVERSE, NOUNS, TOOLS, Table

WORLD_VERSION = 2  # raise when the same config would give another world
_MAX_NOUNS = 10
_PAD_S = 8.0  # a canonical clip is the annotated interval and 8 s each side, clamped


@dataclass(frozen=True)
class WorldConfig:
    """Configuration that determines a world completely.

    Attributes:
        seed: of all random generators.
        train_videos: videos of the training split.
        val_videos: videos of the validation split.
        test_videos: videos of the test split.
        actions_per_video: least and most actions, both included.
        width: pixels; must be even.
        height: pixels; must be even.
        fps: frames per second.
    """

    seed: int = 0
    train_videos: int = 48
    val_videos: int = 12
    test_videos: int = 12
    actions_per_video: tuple[int, int] = (26, 30)
    width: int = 320
    height: int = 240
    fps: int = 30

    def videos_of(self, split: str) -> int:
        """Returns the number of videos of a split."""
        return {"train": self.train_videos, "val": self.val_videos, "test": self.test_videos}[split]

    def scaled(self, factor: int) -> "WorldConfig":
        """Returns the same world in frames `factor` times as wide and high."""
        return replace(self, width=factor * self.width, height=factor * self.height)

    def to_dict(self) -> dict[str, int | list[int]]:
        """Returns plain values, as written to world.json."""
        return {**asdict(self), "actions_per_video": list(self.actions_per_video)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "WorldConfig":
        """Rebuilds a config from what `to_dict` returned."""
        least, most = values["actions_per_video"]
        return cls(**{**values, "actions_per_video": (least, most)})


SMOKE = WorldConfig(
    train_videos=3, val_videos=1, test_videos=1, actions_per_video=(23, 23), width=160, height=120
)


@dataclass(frozen=True)
class Action:
    """One action; frames count from the video's first.

    Attributes:
        verb: of the action.
        noun: of the action.
        target: container that is poured or cracked into.
        start: first frame of the motion.
        key: frame of the key moment; for a changing action its point of no return.
        end: frame after the motion.
        change: (thing, flag, value) that flips at `key`, or None.
        style: four draws in [0, 1) that vary the motion.
    """

    verb: str
    noun: str
    target: str | None
    start: int
    key: int
    end: int
    change: tuple[str, str, int] | None
    style: tuple[float, float, float, float]

    @property
    def changes_state(self) -> bool:
        """Whether an object changes state, so that the key frame is a PNR frame."""
        return self.change is not None


@dataclass(frozen=True)
class Script:
    """One video before anything is placed or drawn; frames count from the video's first."""

    split: str
    index: int
    video_uid: str
    clip_uid: str
    clip_id: int
    nouns: tuple[str, ...]
    initial: Table
    actions: tuple[Action, ...]
    clip_start: int
    clip_end: int
    interval_start: int
    interval_end: int
    num_frames: int


def rng_of(config: WorldConfig, split: str, index: int, purpose: int) -> np.random.Generator:
    """Returns the generator of one purpose in one video; purposes do not disturb each other."""
    return np.random.default_rng([WORLD_VERSION, config.seed, SPLITS.index(split), index, purpose])


def write_plot(config: WorldConfig, split: str, index: int) -> Episode:
    """Returns what happens in one video."""
    rng = rng_of(config, split, index, 0)
    repertoire, nouns = _cast(rng)
    initial = Table(
        {n: {f: int(rng.random() < p) for f, p in FLAGS.get(n, {}).items()} for n in nouns}
    )
    movable = sorted(frozenset(nouns) - {*TOOLS, *FIXED})
    initial.near = [movable[i] for i in rng.permutation(len(movable))[: rng.integers(2, 4)]]
    if initial.flags.get("bowl", {}).get("stain") and "sponge" not in nouns:
        initial.flags["bowl"]["stain"] = 0
    num_actions = int(rng.integers(config.actions_per_video[0], config.actions_per_video[1] + 1))
    choices = Choices(rng)
    play = Simulator(split, repertoire, initial.copy(), choices)
    play.run(num_actions)
    return Episode(
        split, repertoire, initial, tuple(play.steps), tuple(play.marks), tuple(play.recipes),
        tuple(choices.taken), choices.bits / num_actions,
    )  # fmt: skip


def _cast(rng: np.random.Generator) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Returns the recipes of a video and what is on its table, distractors included."""
    theme = KITCHEN if rng.random() < 0.6 else DESK
    repertoire: list[str] = []
    nouns: frozenset[str] = frozenset()
    favour = np.array([FAVOUR.get(name, 1.0) for name in theme])
    for position in rng.choice(len(theme), len(theme), replace=False, p=favour / favour.sum()):
        union = nouns | nouns_of(theme[position])
        if len(union) < _MAX_NOUNS and len(repertoire) < 4:
            repertoire.append(theme[position])
            nouns = union
    others = [noun for noun in NOUNS if noun not in nouns]
    extra = int(rng.integers(1, 3))
    spare = rng.permutation(len(others))[: max(1, min(extra, _MAX_NOUNS - len(nouns)))]
    return tuple(repertoire), tuple(sorted(nouns | {others[i] for i in spare}))


# seconds of motion and where in it the key moment lies; an inverse verb mirrors its partner's
_DURATION_S = {"take": (3.0, 3.7), "move": (3.0, 3.8), "touch": (3.0, 4.0)}
_LONG_S = (3.5, 4.5)
_KEY = {
    "take": (0.34, 0.40),
    "open": (0.45, 0.58),
    "detach": (0.42, 0.55),
    "fold": (0.40, 0.52),
    "turn-on": (0.42, 0.55),
    "cut": (0.48, 0.62),
    "peel": (0.45, 0.60),
    "pour": (0.46, 0.54),
    "crack": (0.50, 0.60),
    "wipe": (0.48, 0.62),
}
_MIDDLE = (0.47, 0.53)


def _timing(verb: str, noun: str, rng: np.random.Generator) -> tuple[float, float]:
    """Returns (seconds of motion, fraction of it at which the key moment comes)."""
    model = INVERSE.get(verb, verb)
    low_s, high_s = _DURATION_S.get(model, _LONG_S)
    low, high = _KEY.get(model, _MIDDLE)
    if model == "take" and noun in TOOLS:
        low, high = 0.42, 0.48
    key = rng.uniform(low, high)
    return rng.uniform(low_s, high_s), 1.0 - key if verb in INVERSE else key


def write_script(config: WorldConfig, split: str, index: int) -> Script:
    """Returns one video's plot with times and ids."""
    plot = write_plot(config, split, index)
    rng = rng_of(config, split, index, 1)
    lead = round(rng.uniform(1.0, 5.0) * config.fps)
    interval_start = lead + round(_PAD_S * config.fps)
    table = plot.initial.copy()
    actions: list[Action] = []
    now = interval_start + round(rng.uniform(0.3, 1.0) * config.fps)
    for verb, noun in plot.steps:
        seconds, key = _timing(verb, noun, rng)
        length = round(seconds * config.fps)
        change = table.change(verb, noun) if verb in CHANGING else None
        style = (rng.random(), rng.random(), rng.random(), rng.random())
        actions.append(
            Action(verb, noun, table.target(verb), now, now + round(key * length), now + length,
                   change, style)
        )  # fmt: skip
        table.apply(verb, noun)
        now += length + round(rng.uniform(1.0, 3.0) * config.fps)
    interval_end = actions[-1].end + round(rng.uniform(1.0, 2.0) * config.fps)
    clip_end = interval_end + round(rng.uniform(3.0, 4.0) * config.fps)  # clamped to the video
    return Script(
        split=split,
        index=index,
        video_uid=_uid(rng),
        clip_uid=_uid(rng),
        clip_id=1000 * SPLITS.index(split) + index,
        nouns=tuple(plot.initial.flags),
        initial=plot.initial,
        actions=tuple(actions),
        clip_start=interval_start - round(_PAD_S * config.fps),
        clip_end=clip_end,
        interval_start=interval_start,
        interval_end=interval_end,
        num_frames=clip_end,
    )


def _uid(rng: np.random.Generator) -> str:
    return str(uuid.UUID(bytes=rng.bytes(16), version=4))
