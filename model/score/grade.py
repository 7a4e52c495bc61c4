"""Leaderboard metrics of a challenge file, where the test labels are available.

Ego4D does not publish the labels of its test split; a generated world has them beside the data.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from model.data.annotations import DataRoot
from model.data.records import ChangeRecord, group_by_clip
from model.errors import AnnotationInvalid
from model.evaluate.metrics import anticipation_errors, keyframe_error_s, means
from model.score.test_set import NUM_STEPS, window_id
from model.tasks import IGNORE, LTA, OSCC, PNR

Metrics = dict[str, float]


def grade(task: str, answers: Mapping[str, Any], truth: DataRoot) -> Metrics:
    """Returns the metrics of one sound file, averaged per sample.

    Args:
        task: "lta", "oscc" or "pnr".
        answers: id -> answer, as `ChallengeFile.read` returns them.
        truth: a data root with test labels.

    Raises:
        AnnotationInvalid: the labels are missing, or an answer has none.
    """
    if not answers:
        return {"samples": 0.0}
    if task == LTA.name:
        return _grade_futures(answers, truth)
    changes = truth.changes("test")
    _complete(answers, [r.unique_id for r in changes])
    changes = [r for r in changes if r.unique_id in answers and r.state_change is not None]
    if task == OSCC.name:
        right = [bool(r.state_change) == answers[r.unique_id] for r in changes]
        accuracy = {"accuracy": float(np.mean(right))} if right else {}
        return {**accuracy, "samples": float(len(right))}
    return _grade_keyframes(answers, [r for r in changes if r.pnr_frame is not None])


def _grade_keyframes(answers: Mapping[str, Any], positives: Sequence[ChangeRecord]) -> Metrics:
    """Scores positives alone: only they have a keyframe."""
    if not positives:
        return {"samples": 0.0}
    start, end, start_s, end_s, pnr, found = (
        np.array(column, dtype=np.float64)
        for column in zip(
            *((r.start_frame, r.end_frame, r.start_s, r.end_s, r.pnr_frame, answers[r.unique_id])
              for r in positives),
            strict=True,
        )
    )  # fmt: skip
    error_s = keyframe_error_s(
        found * PNR.num_nodes / (end - start),
        num_nodes=PNR.num_nodes,
        start_frame=start,
        end_frame=end,
        pnr_frame=pnr,
        start_s=start_s,
        end_s=end_s,
    )
    return {"error_s": float(np.mean(error_s)), "samples": float(len(error_s))}


def _grade_futures(answers: Mapping[str, Any], truth: DataRoot) -> Metrics:
    actions = truth.actions("test")
    came = {}
    for clip in group_by_clip(actions):
        records = [actions[p] for p in clip]
        for last in range(len(records) - NUM_STEPS):
            future = records[last + 1 : last + 1 + NUM_STEPS]
            came[window_id(records[last])] = [
                [IGNORE if label is None else label for label in (r.verb, r.noun)] for r in future
            ]
    _complete(answers, list(came))
    expected = torch.tensor([came[name] for name in answers])  # (M, Z, 2)
    heads = ("verb", "noun")
    futures = {head: torch.tensor([a[head] for a in answers.values()]) for head in heads}
    errors = anticipation_errors(futures, dict(zip(heads, expected.unbind(dim=2), strict=True)))
    return {**means(errors), "samples": float(len(answers))}


def _complete(answers: Mapping[str, Any], known: Sequence[str]) -> None:
    unknown = answers.keys() - set(known)
    if unknown:
        raise AnnotationInvalid(
            f"the truth does not tell of {len(unknown)} answers, {min(unknown)} among them"
        )
