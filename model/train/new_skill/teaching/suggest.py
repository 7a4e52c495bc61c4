"""What to label next: segments on which the voters disagree and that are unlike all labelled ones.

A segment's score is the disagreement of the voters (the Jensen-Shannon divergence of their
probabilities, each counted by its weight) times its distance to the nearest segment that is
labelled or suggested already (cosine of the backbone's features about their mean). The highest one
is taken, and the distances are brought up to date, so that a batch does not say one thing twice.
Without labels, or with labels of one class, the distance alone counts.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import torch
from torch import Tensor
from torch.nn import functional as F

from extract.features.track import FeatureTrack
from model.data.custom_task import spans_of, split_samples
from model.data.tables.label_file import LabelRow
from model.data.tables.label_rows import check_spans
from model.data.task_file import TaskFile
from model.errors import TaskInvalid
from model.nn.few_labels.panel import Panel
from model.nn.few_labels.rows import Rows
from model.nn.skill_set import Backbone
from model.nodes import Bounds, cut_track, nodes_on
from model.predict.predictor import Predictor, PredictRequest
from model.train.new_skill.few_labels import learn_panel, read_inputs, rows_of
from model.train.new_skill.skill import choose_backbone
from model.train.new_skill.teaching.teach import check_teachable, check_tracks

COUNT = 5
SAME = 0.5
"""Share of a segment that is labelled already from which on it is not suggested."""

DISAGREE, UNSURE = "voters disagree", "the voter is unsure"
UNLIKE, TYPICAL = "unlike all labels", "typical of the clips"


@dataclass(frozen=True)
class Suggestion:
    """A segment worth a label.

    Attributes:
        video: it is of.
        start_s: on the clock of the video's container.
        end_s: likewise.
        votes: label -> probability, as the skill has it so far; empty before it has any.
        disagreement: of the voters, 0 to 1.
        distance: to the nearest segment that is labelled or suggested before it, 0 to 1.
        why: which of the two spoke for it.
    """

    video: str
    start_s: float
    end_s: float
    votes: dict[str, float]
    disagreement: float
    distance: float
    why: str


def suggest(
    predictor: Predictor,
    task: TaskFile,
    rows: Sequence[LabelRow],
    tracks: Mapping[str, FeatureTrack],
    *,
    count: int = COUNT,
    segment_s: float | None = None,
    seed: int = 0,
) -> list[Suggestion]:
    """Returns segments of the tracks that are worth a label, the best first.

    Args:
        predictor: of the bundle that the task is taught on.
        task: of kind segment or graph.
        rows: labels so far; may be none. Those of val and test are not learnt from.
        tracks: video -> its features.
        count: segments to return; fewer where there are no more.
        segment_s: length of the segments; None takes the labels' median, without labels 8 s.
        seed: of the voters' folds.

    Raises:
        LabelsInvalid: a row does not fit its video.
        TaskInvalid: the task cannot be taught so, or a number is out of range.
        FeatureMismatch: features are of another encoder.
    """
    check_teachable(task)
    named = [replace(track, video_id=name) for name, track in sorted(tracks.items())]
    check_spans(rows, spans_of(named))
    check_tracks(predictor, named)
    if count < 1 or (segment_s is not None and not 0.1 <= segment_s < math.inf):
        raise TaskInvalid("count: expected 1 or more, and segment_s 0.1 or more")
    if segment_s is None:
        segment_s = median([r.end_s - r.start_s for r in rows] or [PredictRequest.segment_s])
    _, backbone = choose_backbone(predictor, has_backpack=has_backpack(predictor))
    segments, found = _unlabelled(backbone, task, rows, named, max(segment_s, 0.1))
    if not segments:
        return []
    labels, panel, known = _learnt_so_far(backbone, predictor, task, rows, named, seed)
    votes = None if panel is None else weighed(panel, found)
    doubt = (
        torch.ones(len(segments), dtype=torch.float64) if votes is None else disagreement(*votes)
    )
    probability = None if votes is None else fused(*votes)
    suggestions = []
    for place, distance, why in choose(found.features, doubt, known, count):
        shares = [] if probability is None else probability[place].tolist()
        is_alone = votes is not None and len(votes[1]) == 1
        suggestions.append(
            Suggestion(
                *segments[place],
                dict(zip(labels, shares, strict=bool(shares))),
                float(doubt[place]) if votes is not None else 0.0,
                distance,
                why or (UNSURE if is_alone else DISAGREE),
            )
        )
    return suggestions


def choose(
    features: Tensor, doubt: Tensor, known: Tensor, count: int
) -> Iterator[tuple[int, float, str | None]]:
    """Yields the place of each segment to label, its distance, and why; None where it is doubt.

    Args:
        features: (M, D) of the segments.
        doubt: (M,) what the voters' disagreement adds, 0 or more.
        known: (n, D) features of labelled segments; n may be 0.
        count: of the segments to yield, at most.
    """
    middle = torch.cat([features, known]).mean(dim=0)
    unit = F.normalize(features - middle, dim=1)
    near = (unit @ F.normalize(known - middle, dim=1).T).clamp(-1, 1)  # (M, n)
    distance = (1 - near.amax(dim=1)) / 2 if len(known) else None
    left = torch.ones(len(features), dtype=torch.bool)
    for _ in range(min(count, len(features))):
        if distance is None:  # nothing to be far from: begin in the middle
            like = F.normalize(features, dim=1) @ F.normalize(middle, dim=0)
            place, apart = int(like.argmax()), 1.0
            why: str | None = TYPICAL
            distance = torch.ones(len(features), dtype=features.dtype)
        else:
            score = (doubt * distance).masked_fill(~left, -1.0)
            place = int(score.argmax())
            apart = float(distance[place])
            by_doubt, by_distance = (
                float((values[left] <= values[place]).double().mean())
                for values in (doubt, distance)
            )
            is_told = bool((doubt != doubt[0]).any())
            why = None if is_told and by_doubt >= by_distance else UNLIKE
        yield place, apart, why
        left[place] = False
        distance = torch.minimum(distance, (1 - (unit @ unit[place]).clamp(-1, 1)) / 2)


def disagreement(votes: Tensor, weights: Tensor) -> Tensor:
    """Returns how much voters disagree, (M,) from 0 to 1; of a single voter, how unsure it is.

    Args:
        votes: (V, M, Y) log-probabilities.
        weights: (V,) of the voters, above 0.
    """
    shares, chance = weights / weights.sum(), votes.exp()
    mixed = torch.einsum("v,vmy->my", shares, chance)
    within = torch.einsum("v,vm->m", shares, _entropy(chance))
    if len(weights) == 1:
        return _entropy(mixed) / math.log(votes.shape[2])
    most = math.log(min(len(weights), votes.shape[2]))
    return ((_entropy(mixed) - within) / most).clamp(0, 1)


def fused(votes: Tensor, weights: Tensor) -> Tensor:
    """Returns the probabilities of the skill that the voters make, (M, Y)."""
    logits: Tensor = torch.einsum("v,vmy->my", weights, votes)
    return logits.softmax(dim=1)


def has_backpack(predictor: Predictor) -> bool:
    """Returns whether any backbone of a bundle has prototypes."""
    return any(found is not None for found in predictor.skills.backpacks.values())


def _entropy(chance: Tensor) -> Tensor:
    """Of the last dimension, in nats."""
    parts: Tensor = torch.special.entr(chance)
    return parts.sum(dim=-1)


def weighed(panel: Panel, rows: Rows) -> tuple[Tensor, Tensor]:
    """Returns the votes of the voters that count, (V, M, Y), and their weights, (V,)."""
    weights = panel.weights()
    counting = [place for place, name in enumerate(panel.fitted) if name in weights]
    values = [weights[name] for name in panel.fitted if name in weights]
    return panel.votes(rows)[counting], torch.tensor(values, dtype=torch.float64)


def _unlabelled(
    backbone: Backbone,
    task: TaskFile,
    rows: Sequence[LabelRow],
    tracks: Sequence[FeatureTrack],
    segment_s: float,
) -> tuple[list[tuple[str, float, float]], Rows]:
    """Segments of all tracks that have no label yet, and their rows."""
    segments, parts = [], []
    for track in tracks:
        cut = cut_track(track, None, segment_s)
        taken = [(r.start_s, r.end_s) for r in rows if r.video == track.video_id]
        free = [i for i, bounds in enumerate(cut) if not _is_labelled(bounds, taken)]
        if free:
            inputs = nodes_on(track, cut, task.spec, backbone.model.config)
            parts.append(read_inputs(backbone, task.spec, inputs).take(torch.tensor(free)))
            segments += [(track.video_id, *cut[i]) for i in free]
    return segments, Rows.join(parts) if parts else _no_rows()


def _no_rows() -> Rows:
    return Rows(*(torch.zeros(0, 0) for _ in range(4)))


def _is_labelled(bounds: Bounds, taken: Sequence[Bounds]) -> bool:
    start_s, end_s = bounds
    shared = (min(end_s, last) - max(start_s, first) for first, last in taken)
    return any(part >= SAME * (end_s - start_s) for part in shared)


def _learnt_so_far(
    backbone: Backbone,
    predictor: Predictor,
    task: TaskFile,
    rows: Sequence[LabelRow],
    tracks: Sequence[FeatureTrack],
    seed: int,
) -> tuple[list[str], Panel | None, Tensor]:
    """Labels so far, the voters on them, if there are two, and features of all labelled rows."""
    width = backbone.model.config.hidden_size
    if not rows:
        return [], None, torch.zeros(0, width, dtype=torch.float64)
    used = {row.video for row in rows}
    kept = [track for track in tracks if track.video_id in used]
    fps = float(predictor.encoder.contract.fps)
    every = sorted({row.label for row in rows})
    trained = [replace(row, split=row.split or "train") for row in rows]
    samples = split_samples(task.spec, trained, kept, every, fps=fps)
    known = torch.cat([rows_of(backbone, part).features for part in samples.values()])
    mine = [row for row in trained if row.split == "train"]
    labels = sorted({row.label for row in mine})
    if len(labels) < 2:
        return [], None, known
    (own,) = split_samples(task.spec, mine, kept, labels, fps=fps).values()
    panel = learn_panel(backbone, own, rows_of(backbone, own), len(labels), seed=seed)
    return labels, panel, known
