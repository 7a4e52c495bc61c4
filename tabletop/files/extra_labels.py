"""Labels files of further tasks, from a world's scripts.

Two tasks that an action's verb and noun do not tell: `hand`, the acting hands (`left` and `right`
follow from positions, `both` from the verb), and `recipe`, the recipe of an action. Four that they
tell alone: `effect`, `tool`, `object` and `sound`. The windows are those of the action annotations.
"""

import csv
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tabletop.files.annotations import annotate_actions
from tabletop.files.world import replacing
from tabletop.motion.motions import perform
from tabletop.motion.poses import REST, Cue
from tabletop.motion.scene import Scene
from tabletop.story.recipes import SPLITS
from tabletop.story.rules import CHANGING, INVERSE, TOOL_OF, TOOLS
from tabletop.story.script import Script, WorldConfig, rng_of, write_plot, write_script

HANDS = ("left", "right", "both")
COLUMNS = ("video", "start_s", "end_s", "label", "split")
_MOVED = 0.02  # frame heights from the rest position, where an idle hand stays
_INSTANTS = 20


def acting_hands(cue: Cue) -> str:
    """Returns the hands that leave their rest position during an action."""
    instants = [perform(cue, i / _INSTANTS) for i in range(_INSTANTS + 1)]
    moved = [
        any(math.dist(pose.hands[hand], REST[hand]) > _MOVED for pose in instants)
        for hand in (0, 1)
    ]
    return "both" if all(moved) else HANDS[moved.index(True)]


def _hands(config: WorldConfig, script: Script) -> list[str]:
    scene = Scene(script, rng_of(config, script.split, script.index, 2), fps=config.fps)
    return [acting_hands(scene.focus_of(place)[0]) for place in range(len(script.actions))]


def _recipes(config: WorldConfig, script: Script) -> list[str]:
    return list(write_plot(config, script.split, script.index).recipes)


def effect_of(verb: str, noun: str) -> str:
    """Returns whether an action can be undone, if it changes anything but a place."""
    if verb in ("take", "put", "move"):
        return "transport"
    if verb not in CHANGING:
        return "none"
    return "reversible" if verb in INVERSE or verb in INVERSE.values() else "irreversible"


def tool_of(verb: str, noun: str) -> str:
    """Returns what an action is done with."""
    return TOOL_OF.get(verb, "hand")


_FOOD = ("bread", "carrot", "cucumber", "egg")
_VESSELS = ("bottle", "bowl", "cup", "jar", "jug")  # hold liquids


def object_of(verb: str, noun: str) -> str:
    """Returns the kind of thing that is acted on."""
    kinds = {"food": _FOOD, "vessel": _VESSELS, "tool": TOOLS}
    return next((kind for kind, nouns in kinds.items() if noun in nouns), "other")


_HARD = ("bottle", "bowl", "box", "brick", "cup", "jar", "jug", "knife", "pen", "plate", "spoon")
_LONG = ("cut", "peel", "pour", "stir", "wipe")  # whatever the noun
_SHORT = ("attach", "crack", "detach", "turn-off", "turn-on")
_SHORT_IF_HARD = ("close", "move", "open", "put")


def sound_of(verb: str, noun: str) -> str:
    """Returns what would be heard: a noise that goes on, a click or knock, or nothing."""
    is_hard = noun in _HARD
    if verb in _LONG or (verb == "shake" and is_hard) or (verb, noun) == ("turn-on", "radio"):
        return "long"
    return "short" if verb in _SHORT or (verb in _SHORT_IF_HARD and is_hard) else "none"


OF_ACTIONS: dict[str, Callable[[str, str], str]] = {
    "effect": effect_of,
    "tool": tool_of,
    "object": object_of,
    "sound": sound_of,
}
"""Task -> function from an action's verb and noun to its label."""


def _told_by(label_of: Callable[[str, str], str], _: WorldConfig, script: Script) -> list[str]:
    return [label_of(action.verb, action.noun) for action in script.actions]


LABELLERS: dict[str, Callable[[WorldConfig, Script], list[str]]] = {
    "hand": _hands,
    "recipe": _recipes,
    **{task: partial(_told_by, label_of) for task, label_of in OF_ACTIONS.items()},
}
"""Task -> function that returns one label per action of a script."""


def label_rows(task: str, config: WorldConfig) -> Iterator[tuple[str, float, float, str, str]]:
    """Yields one row per action of a world: video, bounds in seconds, label, split."""
    for split in SPLITS:
        for index in range(config.videos_of(split)):
            script = write_script(config, split, index)
            entries = annotate_actions(script, config)
            for entry, label in zip(entries, LABELLERS[task](config, script), strict=True):
                clip_s = entry["clip_parent_start_sec"]
                yield (
                    script.video_uid,
                    clip_s + entry["action_clip_start_sec"],
                    clip_s + entry["action_clip_end_sec"],
                    label,
                    split,
                )


def write_labels(task: str, config: WorldConfig, path: Path) -> None:
    """Writes the rows as a labels file for `python -m model.train --learn`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part, part.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for video, start_s, end_s, label, split in label_rows(task, config):
            writer.writerow([video, f"{start_s:.3f}", f"{end_s:.3f}", label, split])
