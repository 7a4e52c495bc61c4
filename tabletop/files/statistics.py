"""Statistics of a world's scripts, and the upper bound of forecasting accuracy."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from tabletop.files.annotations import annotate_changes
from tabletop.story.episode import Episode
from tabletop.story.recipes import SPLITS
from tabletop.story.rules import Step
from tabletop.story.script import Script, WorldConfig, rng_of, write_plot

_OBSERVED, _FUTURE, _HYPOTHESES = 2, 20, 5  # Ego4D's long-term anticipation


def describe(scripts: Sequence[Script], config: WorldConfig) -> dict[str, Any]:
    """Returns counts per split and the floor of anticipation, as plain values."""
    plots = [write_plot(config, script.split, script.index) for script in scripts]
    return {
        "splits": {split: _count(scripts, split, config) for split in SPLITS},
        "pairs": len({(a.verb, a.noun) for script in scripts for a in script.actions}),
        "entropy_bits_per_action": float(np.mean([plot.bits_per_action for plot in plots])),
        "oracle_edit_distance": _oracle([p for p in plots if p.split == "test"] or plots, config),
    }


def _count(scripts: Sequence[Script], split: str, config: WorldConfig) -> dict[str, Any]:
    mine = [script for script in scripts if script.split == split]
    actions = [action for script in mine for action in script.actions]
    segments = [entry for script in mine for entry in annotate_changes(script, config)]
    return {
        "videos": len(mine),
        "frames": sum(script.num_frames for script in mine),
        "actions": len(actions),
        "changing_actions": sum(action.changes_state for action in actions),
        "segments": len(segments),
        "positive_segments": sum(entry["state_change"] for entry in segments),
        "pairs": len({(action.verb, action.noun) for action in actions}),
        "verbs": dict(Counter(action.verb for action in actions).most_common()),
        "nouns": dict(Counter(action.noun for action in actions).most_common()),
    }


def _oracle(plots: Sequence[Episode], config: WorldConfig) -> dict[str, float]:
    """Returns ED@20 of the world's own generator, resumed from its full state.

    The generator has the recipes, the state of every object and its place in a recipe, so no model
    of the video alone does better on average with five samples.
    """
    distances: dict[str, list[float]] = {"verb": [], "noun": [], "action": []}
    for index, plot in enumerate(plots):
        rng = rng_of(config, plot.split, index, 7)
        for seen in range(_OBSERVED, len(plot.steps) - _FUTURE + 1, 2):
            truth = plot.steps[seen : seen + _FUTURE]
            futures = [plot.retold(seen, rng)[seen : seen + _FUTURE] for _ in range(_HYPOTHESES)]
            for name, pick in (("verb", 0), ("noun", 1), ("action", None)):
                best = min(edit_distance(_column(f, pick), _column(truth, pick)) for f in futures)
                distances[name].append(best / _FUTURE)
    return {name: float(np.mean(values)) for name, values in distances.items() if values}


def _column(steps: Sequence[Step], pick: int | None) -> list[str]:
    return [" ".join(step) if pick is None else step[pick] for step in steps]


def edit_distance(p: Sequence[str], q: Sequence[str]) -> int:
    """Returns the Levenshtein distance."""
    row = list(range(len(q) + 1))
    for i, a in enumerate(p, 1):
        corner, row[0] = row[0], i
        for j, b in enumerate(q, 1):
            corner, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, corner + (a != b))
    return row[-1]
