"""Comparison of two versions of a skill on the same labels: who is right where."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from extract.features.track import FeatureTrack
from model.data.custom_task import spans_of, split_samples
from model.data.tables.label_file import LabelRow
from model.data.tables.label_rows import check_spans, json_place
from model.errors import LabelsInvalid
from model.evaluate.calibration import collect_logits
from model.nn.skill_set import Backbone, build_skills
from model.predict.predictor import Predictor
from model.train.methods.stages import SkillOnBackbone
from model.train.new_skill.adding import add_version
from model.train.new_skill.teaching.teach import check_tracks
from weights.bundle import Bundle, Tensors

RESAMPLES = 10_000
LEVEL = (2.5, 97.5)
"""Percentiles of a 95 % interval."""

Version = tuple[Tensors, Mapping[str, Any]]
"""Of a skill, as `skill_files` returns it."""


def compare(
    bundle: Bundle,
    versions: Mapping[str, Version],
    rows: Sequence[LabelRow],
    tracks: Mapping[str, FeatureTrack],
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Returns which of two versions is right on which labels, whatever the split of these.

    The difference is the second version's accuracy less the first one's, with a 95 % interval by
    a paired bootstrap over labels. `learnt` counts the labels that a version was taught with: on
    these it is too good.

    Args:
        bundle: that both were learnt on.
        versions: name -> version, two.
        rows: labels.
        tracks: video -> its features.
        seed: of the bootstrap.

    Raises:
        LabelsInvalid: a row does not fit its video, or neither version has its label.
        FeatureMismatch: features are of another encoder.
    """
    named = [replace(track, video_id=name) for name, track in tracks.items()]
    check_spans(rows, spans_of(named))
    known = {label for _, entry in versions.values() for label in entry["labels"]}
    unknown = [row for row in rows if row.label not in known]
    if unknown:
        place = json_place(unknown[0].line, "label")
        expected = f"expected a label of the versions, {', '.join(sorted(known))}"
        raise LabelsInvalid([(place, f"{expected}, got {unknown[0].label!r:.80}")])
    used = {row.video for row in rows}
    kept = [track for track in named if track.video_id in used]
    predictor = Predictor(bundle)
    check_tracks(predictor, kept)
    fps = float(predictor.encoder.contract.fps)
    right = {v: _right(bundle, files, rows, kept, fps) for v, files in versions.items()}
    (first, one), (second, two) = right.items()
    only_one, only_two = int((one & ~two).sum()), int((two & ~one).sum())
    shares = np.array([only_two, only_one, len(rows) - only_one - only_two]) / len(rows)
    drawn = np.random.default_rng(seed).multinomial(len(rows), shares, RESAMPLES)
    low, high = np.percentile((drawn[:, 0] - drawn[:, 1]) / len(rows), LEVEL)
    return {
        "labels": len(rows),
        "accuracy": {name: float(hits.double().mean()) for name, hits in right.items()},
        "both_right": int((one & two).sum()),
        f"only_{first}_right": only_one,
        f"only_{second}_right": only_two,
        "difference": (only_two - only_one) / len(rows),
        "low": float(low),
        "high": float(high),
        "learnt": {name: _learnt(entry, rows) for name, (_, entry) in versions.items()},
    }


def _right(
    bundle: Bundle,
    version: Version,
    rows: Sequence[LabelRow],
    tracks: Sequence[FeatureTrack],
    fps: float,
) -> Tensor:
    """Whether a version answers each label, (M,) bool, in the order of the samples."""
    tensors, entry = version
    skills = build_skills(add_version(bundle, tensors, entry))
    task, where = entry["name"], entry["skill"]["backbone"]
    skill = skills.skills[task].eval()
    labels = sorted({row.label for row in rows})
    tested = [replace(row, split="test") for row in rows]
    (samples,) = split_samples(skill.spec, tested, tracks, labels, fps=fps).values()
    backbone = Backbone(skills.models[where], skills.backpacks[where])
    learner = SkillOnBackbone(skill, backbone, tuned={})
    logits, truth = collect_logits({task: learner}, {task: samples}, backbone.model.config)
    output = skill.spec.outputs[0]
    ours = [labels.index(n) if n in labels else -1 for n in entry["labels"]]
    said = truth[task][output].new_tensor(ours)[logits[task][output][:, 0].argmax(dim=1)]
    return said == truth[task][output][:, 0]


def _learnt(entry: Mapping[str, Any], rows: Sequence[LabelRow]) -> int:
    """How many of the labels a version keeps among its examples."""
    examples = entry["skill"].get("examples", [])
    taught = {(e["video"], e["start_s"], e["end_s"]) for e in examples}
    return sum((row.video, row.start_s, row.end_s) in taught for row in rows)
