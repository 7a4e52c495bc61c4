"""Annotations of a script with Ego4D v1's field names and segment rules."""

from typing import Any

from tabletop.story.recipes import SPLITS
from tabletop.story.rules import NOUNS, VERBS
from tabletop.story.script import Action, Script, WorldConfig, rng_of

Entry = dict[str, Any]

_SEGMENT_S = 8.0
_LEAST_S = 5.0
_MARGIN_S = 0.5  # nothing changes this close to a negative segment
_TRIES = 60


def annotate_actions(script: Script, config: WorldConfig) -> list[Entry]:
    """Returns one LTA entry per action, labels included.

    The 8 s window holds the key moment off centre, while its centre lies inside the motion.
    """
    rng = rng_of(config, script.split, script.index, 5)
    fps, length = config.fps, round(_SEGMENT_S * config.fps)
    entries: list[Entry] = []
    for index, action in enumerate(script.actions):
        margin = round(0.2 * (action.end - action.start))
        low = max(action.start + margin, action.key - length // 4) - length // 2
        high = min(action.end - margin, action.key + length // 4) - length // 2
        start = int(rng.integers(low, high + 1))
        start = min(max(start, script.clip_start), script.clip_end - length) - script.clip_start
        entries.append({
            "video_uid": script.video_uid,
            "clip_uid": script.clip_uid,
            "clip_id": script.clip_id,
            "action_idx": index,
            **_span("clip_parent", script.clip_start, script.clip_end, fps),
            **_span("interval", script.interval_start, script.interval_end, fps),
            **_span("action_clip", start, start + length, fps),
            "verb": action.verb,
            "noun": action.noun,
            "verb_label": VERBS.index(action.verb),
            "noun_label": NOUNS.index(action.noun),
        })  # fmt: skip
    return entries


def hide_action(entry: Entry) -> Entry:
    """Returns an LTA entry as in the unannotated test file."""
    hidden = ("verb", "noun", "verb_label", "noun_label")
    return {key: value for key, value in entry.items() if key not in hidden}


def annotate_changes(script: Script, config: WorldConfig) -> list[Entry]:
    """Returns OSCC and PNR entries: one positive per change, about as many negatives."""
    cutter = _Cutter(script, config)
    positives = [cutter.positive(action) for action in script.actions if action.changes_state]
    negatives = cutter.negatives(len(positives))
    entries = sorted(positives + negatives, key=lambda entry: entry["parent_start_frame"])
    for rank, entry in enumerate(entries):  # independent of the label
        entry["unique_id"] = f"{script.clip_uid}-{rank}"
    return entries


def hide_change(entry: Entry) -> Entry:
    """Returns an OSCC/PNR entry as in the unannotated test file."""
    shown = ("unique_id", "clip_id", "video_uid", "parent_start_sec", "parent_end_sec",
             "parent_start_frame", "parent_end_frame")  # fmt: skip
    return {key: entry[key] for key in shown}


class _Cutter:
    """Cuts segments out of one clip: 8 s in training, 5 to 8 s elsewhere."""

    def __init__(self, script: Script, config: WorldConfig) -> None:
        self._script, self._fps = script, config.fps
        self._rng = rng_of(config, script.split, script.index, 6)
        self._changes = [action.key for action in script.actions if action.changes_state]

    def _length(self) -> int:
        if self._script.split == SPLITS[0]:
            return round(_SEGMENT_S * self._fps)
        return int(
            self._rng.integers(round(_LEAST_S * self._fps), round(_SEGMENT_S * self._fps) + 1)
        )

    def _around(self, key: int, length: int) -> int:
        """Returns a start that puts `key` at 20 to 80 % of the segment, inside the clip."""
        start = key - round(float(self._rng.uniform(0.2, 0.8)) * length)
        return min(max(start, self._script.clip_start), self._script.clip_end - length)

    def _count(self, start: int, length: int, margin: int = 0) -> int:
        return sum(start - margin <= key < start + length + margin for key in self._changes)

    def positive(self, action: Action) -> Entry:
        """Returns a segment around a change, without another change in it if possible."""
        length = self._length()
        starts = [self._around(action.key, length) for _ in range(_TRIES)]
        start = min(starts, key=lambda s: self._count(s, length))  # the first minimum
        return self._entry(start, length, action)

    def negatives(self, wanted: int) -> list[Entry]:
        """Returns segments in which nothing changes, most of them around another action."""
        margin = round(_MARGIN_S * self._fps)
        others = [action.key for action in self._script.actions if not action.changes_state]
        idle = round(self._script.interval_start - 2 * self._fps)
        entries: list[Entry] = []
        for key in self._rng.permutation([*others, idle]).tolist():
            length = self._length()
            for _ in range(_TRIES):
                start = self._around(key, length)
                if not self._count(start, length, margin):
                    entries.append(self._entry(start, length, None))
                    break
        return entries[: max(1, wanted)]

    def _entry(self, start: int, length: int, action: Action | None) -> Entry:
        script, end, clip = self._script, start + length, self._script.clip_start
        entry: Entry = {
            "unique_id": "",  # set when all segments are known
            "clip_id": str(script.clip_id),
            "clip_uid": script.clip_uid,
            "video_uid": script.video_uid,
            **_span("parent", start, end, self._fps),
            **_span("clip", start - clip, end - clip, self._fps),
            "state_change": action is not None,
        }
        if action is None:
            entry["pnr_frame"] = None
        else:
            entry["parent_pnr_frame"] = action.key
            entry["clip_pnr_frame"] = action.key - clip
        return entry


def _span(name: str, start: int, end: int, fps: int) -> Entry:
    return {
        f"{name}_start_sec": start / fps,
        f"{name}_end_sec": end / fps,
        f"{name}_start_frame": start,
        f"{name}_end_frame": end,
    }
