"""Library call that teaches a skill: labels and tracks in memory, no command and no files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from extract.features.track import FeatureTrack
from model.data.custom_task import spans_of, split_samples
from model.data.samples import Samples
from model.data.tables.label_file import LabelRow
from model.data.tables.label_rows import check_labels, with_splits
from model.data.task_file import TaskFile
from model.errors import FeatureMismatch, TaskInvalid
from model.predict.predictor import Predictor, PredictRequest
from model.train.new_skill.adding import check_is_new
from model.train.new_skill.few_labels import READOUTS
from model.train.new_skill.skill import Method, TrainedSkill, learn_skill
from model.train.new_skill.teaching.report import report_of


@dataclass(frozen=True, eq=False)
class Taught:
    """A skill that was taught.

    Attributes:
        own: for `add_skill` or `skill_files`.
        report: how far to trust it, as plain JSON values.
    """

    own: TrainedSkill
    report: dict[str, Any]


def teach(
    predictor: Predictor,
    task: TaskFile,
    rows: Sequence[LabelRow],
    tracks: Mapping[str, FeatureTrack],
    *,
    seed: int = 0,
    method: Method = "auto",
    none_label: str | None = None,
) -> Taught:
    """Learns a task of one label a segment, as `python -m model.train --learn` does.

    Args:
        predictor: of the bundle to learn on.
        task: of kind segment or graph.
        rows: labels; those of val and test are held out and judge the skill, else
            cross-validation does. Rows without a split are for training.
        tracks: video -> its features.
        seed: of all random generators.
        method: "auto" or "head"; the same where the bundle has no backpack.
        none_label: the label of segments that are none of the others, if there is one; the
            report says how often it is right.

    Raises:
        LabelsInvalid: a row does not fit its video, or the labels cannot be told apart.
        TaskInvalid: the task cannot be taught so, or the bundle has its name already.
        FeatureMismatch: features are of another encoder.
    """
    check_teachable(task, method)
    check_is_new(task.spec.name, predictor.manifest)
    labels, samples = labelled_samples(predictor, task, rows, tracks)
    if none_label is not None and none_label not in labels:
        raise TaskInvalid(
            f"none_label: expected one of the labels {', '.join(labels)}, got {none_label!r:.80}"
        )
    own = learn_skill(
        predictor,
        task,
        samples,
        labels,
        seed=seed,
        sources={f"{row.video}:{row.line}": row for row in rows},
        method=method,
        has_backpack=has_backpack(predictor),
        progress=False,
    )
    learnt = replace(own.learnt, training={**own.learnt.training, "fraction": 1.0})
    own = replace(own, learnt=learnt)
    return Taught(own, report_of(own, task, samples, seed=seed, none_label=none_label))


def has_backpack(predictor: Predictor) -> bool:
    """Returns whether any backbone of a bundle has prototypes."""
    return any(found is not None for found in predictor.skills.backpacks.values())


def check_teachable(task: TaskFile, method: Method = "auto") -> None:
    """Checks that a task is learnt by voters, which takes seconds; raises TaskInvalid."""
    if task.spec.readout not in READOUTS:
        raise TaskInvalid(
            f"kind: expected segment or graph, got {task.kind}; python -m model.train --learn "
            "learns tasks of the other kinds"
        )
    if method not in ("auto", "head"):
        raise TaskInvalid(f"method: expected auto or head, got {method!r:.80}")


def labelled_samples(
    predictor: Predictor,
    task: TaskFile,
    rows: Sequence[LabelRow],
    tracks: Mapping[str, FeatureTrack],
) -> tuple[list[str], dict[str, Samples]]:
    """Returns the label space of checked rows and the samples of every split that they have.

    Raises:
        LabelsInvalid: a row does not fit its video, or the labels cannot be told apart.
        FeatureMismatch: features are of another encoder.
    """
    named = [replace(track, video_id=name) for name, track in tracks.items()]
    labels = check_labels(rows, spans_of(named), labels=task.labels)
    used = {row.video for row in rows}
    kept = [track for track in named if track.video_id in used]
    check_tracks(predictor, kept)
    fps = float(predictor.encoder.contract.fps)
    return labels, split_samples(task.spec, with_splits(rows), kept, labels, fps=fps)


def check_tracks(predictor: Predictor, tracks: Sequence[FeatureTrack]) -> None:
    """Checks that tracks are of the bundle's encoder.

    Raises:
        FeatureMismatch: one is not; names its video.
    """
    for track in tracks:
        try:
            predictor.check(PredictRequest(track, frozenset()))
        except FeatureMismatch as error:
            raise FeatureMismatch(f"{track.video_id}: {error}") from error
