"""What to label next: segments that are in doubt and unlike all labelled ones.

A segment's score is the entropy of what the voters say together, which is high where they disagree
and where all are unsure, times its distance to the nearest segment that is labelled or suggested
already (cosine about the mean of its resemblances to the prototypes; without a backpack, of the
backbone's features). The highest one is taken, and the distances are brought up to date, so that a
batch does not say one thing twice. Without labels, or with labels of one class, the distance alone
counts.
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
from model.train.new_skill.teaching.teach import check_teachable, check_tracks, has_backpack

COUNT = 5
SAME = 0.5
"""Share of a segment that is labelled already from which on it is not suggested."""

NO_ROWS = Rows(*(torch.zeros(0, 0, dtype=torch.float64) for _ in range(4)))

DISAGREE, UNSURE = "voters disagree", "voters are unsure"
"""They prefer different labels, or the same one without being sure."""
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
        why: what spoke for it most.
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
    doubt = torch.ones(len(segments), dtype=torch.float64)
    apart, differ = torch.zeros_like(doubt), torch.zeros(len(segments), dtype=torch.bool)
    probability = None
    if votes is not None:
        probability, apart = fused(*votes), disagreement(*votes)
        doubt = uncertainty(probability)
        best = votes[0].argmax(dim=2)  # (V, M)
        differ = (best != best[:1]).any(dim=0)
    suggestions = []
    for place, distance, why in choose(places_of(found), doubt, places_of(known), count):
        shares = [] if probability is None else probability[place].tolist()
        suggestions.append(
            Suggestion(
                *segments[place],
                dict(zip(labels, shares, strict=bool(shares))),
                float(apart[place]),
                distance,
                why or (DISAGREE if differ[place] else UNSURE),
            )
        )
    return suggestions


def places_of(rows: Rows) -> Tensor:
    """Returns where rows are for the distance between them, (M, F)."""
    return rows.posterior if rows.posterior.shape[1] else rows.features


def choose(
    features: Tensor, doubt: Tensor, known: Tensor, count: int
) -> Iterator[tuple[int, float, str | None]]:
    """Yields the place of each segment to label, its distance, and why; None where it is doubt.

    Args:
        features: (M, F) of the segments.
        doubt: (M,) how unsure the skill is of them, 0 or more.
        known: (n, F) of labelled segments; n may be 0.
        count: of the segments to yield, at most.
    """
    everything = torch.cat([features, known]) if len(known) else features
    middle = everything.mean(dim=0)
    unit = F.normalize(features - middle, dim=1)
    distance = None
    if len(known):
        near = (unit @ F.normalize(known - middle, dim=1).T).clamp(-1, 1)  # (M, n)
        distance = (1 - near.amax(dim=1)) / 2
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
    """Returns the Jensen-Shannon divergence of what voters say, (M,), of the most there can be.

    Args:
        votes: (V, M, Y) log-probabilities.
        weights: (V,) of the voters, above 0.
    """
    if len(weights) == 1:
        return torch.zeros(votes.shape[1], dtype=votes.dtype)
    shares, chance = weights / weights.sum(), votes.exp()
    mixed = torch.einsum("v,vmy->my", shares, chance)
    within = torch.einsum("v,vm->m", shares, _entropy(chance))
    most = math.log(min(len(weights), votes.shape[2]))
    return ((_entropy(mixed) - within) / most).clamp(0, 1)


def uncertainty(probability: Tensor) -> Tensor:
    """Returns the entropy of (M, Y) probabilities, (M,), as a share of the most there can be."""
    return _entropy(probability) / math.log(probability.shape[1])


def fused(votes: Tensor, weights: Tensor) -> Tensor:
    """Returns the probabilities of the skill that the voters make, (M, Y)."""
    logits: Tensor = torch.einsum("v,vmy->my", weights, votes)
    return logits.softmax(dim=1)


def weighed(panel: Panel, rows: Rows) -> tuple[Tensor, Tensor]:
    """Returns the votes of the voters that count, (V, M, Y), and their weights, (V,)."""
    weights = panel.weights()
    counting = [place for place, name in enumerate(panel.fitted) if name in weights]
    values = [weights[name] for name in panel.fitted if name in weights]
    return panel.votes(rows)[counting], torch.tensor(values, dtype=torch.float64)


def _entropy(chance: Tensor) -> Tensor:
    """Of the last dimension, in nats."""
    parts: Tensor = torch.special.entr(chance)
    return parts.sum(dim=-1)


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
    return segments, Rows.join(parts) if parts else NO_ROWS


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
) -> tuple[list[str], Panel | None, Rows]:
    """Labels so far, the voters on them, if there are two, and the rows of all that is labelled."""
    if not rows:
        return [], None, NO_ROWS
    used = {row.video for row in rows}
    kept = [track for track in tracks if track.video_id in used]
    fps = float(predictor.encoder.contract.fps)
    every = sorted({row.label for row in rows})
    trained = [replace(row, split=row.split or "train") for row in rows]
    samples = split_samples(task.spec, trained, kept, every, fps=fps)
    known = Rows.join([rows_of(backbone, part) for part in samples.values()])
    mine = [row for row in trained if row.split == "train"]
    labels = sorted({row.label for row in mine})
    if len(labels) < 2:
        return [], None, known
    (own,) = split_samples(task.spec, mine, kept, labels, fps=fps).values()
    panel = learn_panel(backbone, own, rows_of(backbone, own), len(labels), seed=seed)
    return labels, panel, known
