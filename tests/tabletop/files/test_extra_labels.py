import math
import sys
from collections import Counter
from pathlib import Path

import pytest

from model.data.annotations import DataRoot
from model.data.tables.label_file import read_labels
from model.data.task_file import read_task
from tabletop.__main__ import main
from tabletop.files.extra_labels import (
    HANDS,
    LABELLERS,
    OF_ACTIONS,
    acting_hands,
    effect_of,
    label_rows,
    sound_of,
    write_labels,
)
from tabletop.motion.poses import REST
from tabletop.motion.scene import Scene
from tabletop.story.recipes import RECIPES
from tabletop.story.rules import ALLOWED, CHANGES, CHANGING
from tabletop.story.script import WorldConfig, rng_of


@pytest.mark.parametrize("task", list(LABELLERS))
def test_rows_are_the_annotated_actions(tiny_world, tiny_config, task, tmp_path):
    write_labels(task, tiny_config, tmp_path / "labels.csv")
    rows = read_labels(tmp_path / "labels.csv", localises=False)
    told = Counter((r.split, r.video, round(30 * r.start_s), round(30 * r.end_s)) for r in rows)
    data = DataRoot(tiny_world)
    actions = Counter(
        (split, a.video_uid, a.start_frame, a.end_frame)
        for split in ("train", "val", "test")
        for a in data.actions(split)
    )
    assert told == actions


def test_the_hands_seen_moving_are_the_hands_told(default_scripts):
    """The scene sways every hand a little, so a resting hand is one that stays near its place."""
    config = WorldConfig()
    for script in default_scripts[::24]:
        scene = Scene(script, rng_of(config, script.split, script.index, 2), fps=config.fps)
        for place, action in enumerate(script.actions):
            told = acting_hands(scene.focus_of(place)[0])
            away = [0.0, 0.0]
            for frame in range(action.start, action.end, 3):
                for hand, at in enumerate(scene.at(frame).hands):
                    away[hand] = max(away[hand], math.dist(at, REST[hand]))
            assert [a > 0.1 for a in away] == [told in ("left", "both"), told in ("right", "both")]


@pytest.mark.parametrize(
    ("task", "classes", "least"), [("hand", HANDS, 0.25), ("recipe", tuple(RECIPES), 0.04)]
)
def test_every_class_is_common_enough_to_be_learnt(task, classes, least):
    count = Counter(
        label for *_, label, split in label_rows(task, WorldConfig()) if split == "train"
    )
    assert set(count) == set(classes)
    assert min(count.values()) > least * sum(count.values())


def test_a_step_of_one_recipe_only_is_told_as_that_recipe(default_scripts):
    """Steps that only one recipe has, done for that recipe; others may be fidgets."""
    rows = list(label_rows("recipe", WorldConfig()))
    actions = [a for script in default_scripts for a in script.actions]
    owner = {"crack": {"batter"}, "unfold": {"letter", "laundry"}}
    for action, (*_, label, _split) in zip(actions, rows, strict=True):
        if action.verb in owner:
            assert label in owner[action.verb]


@pytest.mark.parametrize("task", list(OF_ACTIONS))
def test_the_task_file_of_an_action_task_names_its_labels(task):
    """Every one of them occurs in each split."""
    listed = read_task(Path(f"docs/examples/{task}.toml")).labels
    told = {(label, split) for *_, label, split in label_rows(task, WorldConfig())}
    assert listed is not None
    assert told == {(label, split) for label in listed for split in ("train", "val", "test")}


def test_what_another_action_sets_back_is_reversible():
    """By the table of what each verb changes, not by the names of verbs."""
    flips = {verb: (flag, before, after) for verb, (flag, before, after) in CHANGES.items()}
    undone = {
        verb
        for verb, (flag, before, after) in flips.items()
        if (flag, after, before) in flips.values()
    }
    for verb, nouns in ALLOWED.items():
        effects = {effect_of(verb, noun) for noun in nouns}
        if verb in CHANGING:
            assert effects == {"reversible" if verb in undone else "irreversible"}
        else:
            assert effects <= {"transport", "none"}


def test_a_sound_takes_verb_and_noun_to_tell():
    told = {(v, n): sound_of(v, n) for v, nouns in ALLOWED.items() for n in nouns}
    assert told["put", "plate"] == "short" != told["put", "cloth"]
    assert told["shake", "box"] == "long" != told["shake", "cloth"]
    assert told["turn-on", "radio"] == "long" != told["turn-off", "radio"]
    for place in (0, 1):
        sounds = {
            key[place]: {s for k, s in told.items() if k[place] == key[place]} for key in told
        }
        assert max(map(len, sounds.values())) > 1


def test_the_command_writes_the_file(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "labels.csv"
    arguments = ["tabletop", "--smoke", "--labels", str(path), "--task", "recipe"]
    monkeypatch.setattr(sys, "argv", arguments)
    main()
    assert len(read_labels(path, localises=False)) == 5 * 23


def test_a_world_still_needs_a_folder(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tabletop", "--smoke"])
    with pytest.raises(SystemExit):
        main()
    assert "--out is missing" in capsys.readouterr().err


def test_labels_are_those_of_the_world_in_the_folder(
    tiny_world, tiny_config, tmp_path, monkeypatch
):
    path = tmp_path / "labels.csv"
    arguments = ["tabletop", "--out", str(tiny_world), "--labels", str(path), "--task", "sound"]
    monkeypatch.setattr(sys, "argv", arguments)
    main()
    write_labels("sound", tiny_config, tmp_path / "same.csv")
    assert path.read_text() == (tmp_path / "same.csv").read_text()
