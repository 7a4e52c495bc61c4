"""Training of the sequence forecaster: next actions, after a past as AR would recognise it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from model.config import ForecasterConfig
from model.data.sequences import ActionSequences
from model.forecast.baselines import PairCounts
from model.forecast.forecaster import TINY, SequenceForecaster
from model.forecast.sampling import PastActions, one_hot
from model.train.fit import FitJob, backward_of, fit

LONGEST = 128
"""Actions of a training crop."""

MAX_NORM = 1.0


class Recogniser(Protocol):
    """Stand-in for AR: distributions over verbs and nouns of true actions, (T, 2)."""

    def __call__(self, ids: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Returns verb (T, V) and noun (T, W)."""


class Donors:
    """Recognition as it errs on videos it has not learnt from.

    AR is over-confident on its own training segments. Here a true action takes the posterior of a
    random segment of another split with the same verb and noun, else verb and noun apart, else
    the truth.
    """

    def __init__(self, past: PastActions, ids: Tensor) -> None:
        """Sorts posteriors by their true labels.

        Args:
            past: recognised actions of the other split.
            ids: (A, 2) their true labels; negative ones are left out.
        """
        variants = past.verb.shape[1]
        self._verb, self._noun = past.verb.flatten(0, 1), past.noun.flatten(0, 1)
        true = ids.repeat_interleave(variants, dim=0)
        both = true[:, 0] * self._noun.shape[1] + true[:, 1]
        both = torch.where((true < 0).any(dim=1), -1, both)
        self._groups = [_grouped(labels) for labels in (both, true[:, 0], true[:, 1])]

    def __call__(self, ids: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Returns the posteriors of one donor for each action; see the class."""
        num_verbs, num_nouns = self._verb.shape[1], self._noun.shape[1]
        chance = torch.rand(3, len(ids), generator=generator)
        found = torch.empty(len(ids), 2, dtype=torch.long)
        for place, (verb, noun) in enumerate(ids.tolist()):
            keys = (verb * num_nouns + noun if min(verb, noun) >= 0 else -1, verb, noun)
            rows = [
                _member(group.get(key), float(chance[i, place]))
                for i, (group, key) in enumerate(zip(self._groups, keys, strict=True))
            ]
            found[place] = torch.tensor([rows[0], rows[0]] if rows[0] >= 0 else rows[1:])
        has = found >= 0
        verb_of = torch.where(
            has[:, :1], self._verb[found[:, 0].clamp(min=0)], one_hot(ids[:, 0], num_verbs)
        )
        noun_of = torch.where(
            has[:, 1:], self._noun[found[:, 1].clamp(min=0)], one_hot(ids[:, 1], num_nouns)
        )
        return verb_of, noun_of


def _grouped(labels: Tensor) -> dict[int, Tensor]:
    return {
        label: (labels == label).nonzero().squeeze(1)
        for label in labels.unique().tolist()
        if label >= 0
    }


def _member(rows: Tensor | None, chance: float) -> int:
    return -1 if rows is None else int(rows[int(chance * len(rows))])


@dataclass(frozen=True, eq=False)
class _Batch:
    """Crops, padded at the end.

    Attributes:
        verb: (B, T, V).
        noun: (B, T, W).
        target: (B, T - 1) rows of the pairs that follow, -1 for none.
        total: targets of the batch on all ranks.
    """

    verb: Tensor
    noun: Tensor
    target: Tensor
    total: int


def train_forecaster(
    train: ActionSequences,
    num_labels: dict[str, int],
    config: ForecasterConfig,
    job: FitJob,
    *,
    recogniser: Recogniser | None = None,
) -> SequenceForecaster:
    """Returns a forecaster that has learnt the next action of every training sequence.

    Crops of at most 128 actions begin anywhere, so that short pasts are met as well. With a
    recogniser, the actions up to a random one are seen as it sees them, those after it as they
    are: the observed past, and the steps that sampling feeds back.

    Args:
        train: sequences.
        num_labels: "verb" and "noun" -> classes.
        config: sizes.
        job: optimisation, seed, device and ranks.
        recogniser: None sees true actions.
    """
    torch.manual_seed(job.seed)
    counts = PairCounts(train)
    model = SequenceForecaster(config, counts.pairs, num_labels).to(job.device)
    clips = [clip for clip in train.clips() if len(clip) > 1]
    slots = [i for i, c in enumerate(clips) for _ in range(-(-(len(c) + LONGEST) // LONGEST))]
    size = job.config.batch_size

    def batches(generator: torch.Generator) -> Iterator[_Batch]:
        crops = [_crop(clips[i], generator) for i in slots]
        order = torch.tensor([len(c) for c in crops]).argsort(stable=True).split(size)
        for which in torch.randperm(len(order), generator=generator).tolist():
            mine = [crops[i] for i in order[which].tolist()]
            yield _collate(mine, counts, num_labels, recogniser, generator, job)

    def loss(batch: _Batch) -> Tensor:
        return next_action_losses(model, batch.verb, batch.noun, batch.target).sum() / batch.total

    steps = -(-len(slots) // size)
    backward = backward_of(loss, model, job.world)
    with _flushed_denormals():
        fit(
            model, batches, backward, job,
            steps_per_epoch=steps, label="forecaster", max_norm=MAX_NORM,
        )  # fmt: skip
    return model.cpu().requires_grad_(False)


@contextmanager
def _flushed_denormals() -> Iterator[None]:
    """Sharp attention has shares below 1e-38, which a CPU computes several times slower."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def next_action_losses(
    model: SequenceForecaster, verb: Tensor, noun: Tensor, target: Tensor
) -> Tensor:
    """Returns -log p of every known next action.

    Args:
        model: to score.
        verb: (B, T, V) distributions of the steps.
        noun: (B, T, W) likewise.
        target: (B, T - 1) rows of the pairs after each step but the last; negative ones are left
            out.
    """
    generated, copied = model(verb[:, :-1], noun[:, :-1])
    joint = model.joint(verb[:, :-1], noun[:, :-1])  # (B, T - 1, P)
    row = target.clamp(min=0)
    of_target = joint.gather(2, row.unsqueeze(1).expand(-1, joint.shape[1], -1))
    chance = generated.gather(2, row.unsqueeze(2)).squeeze(2)
    chance = chance + (copied * of_target.transpose(1, 2)).sum(dim=2)
    losses: Tensor = -(chance[target >= 0] + TINY).log()
    return losses


def _crop(clip: Tensor, generator: torch.Generator) -> Tensor:
    """A stretch of at most `LONGEST` actions, at least two; every action is as likely."""
    start = int(torch.randint(2 - LONGEST, len(clip) - 1, (1,), generator=generator))
    return clip[max(0, start) : start + LONGEST]


def _collate(
    crops: Sequence[Tensor],
    counts: PairCounts,
    num_labels: dict[str, int],
    recogniser: Recogniser | None,
    generator: torch.Generator,
    job: FitJob,
) -> _Batch:
    ids = torch.nn.utils.rnn.pad_sequence(list(crops), batch_first=True, padding_value=-1)
    verb, noun = (one_hot(ids[..., i], num_labels[n]) for i, n in enumerate(("verb", "noun")))
    if recogniser is not None:
        for place, crop in enumerate(crops):
            seen = int(torch.randint(0, len(crop) + 1, (1,), generator=generator))
            verb[place, :seen], noun[place, :seen] = recogniser(crop[:seen], generator)
    target = counts.index(ids[:, 1:])
    mine = job.world.part(len(ids)) if job.world.size > 1 else slice(None)
    verb, noun, target = (values.to(job.device) for values in (verb, noun, target))
    return _Batch(verb[mine], noun[mine], target[mine], max(1, int((target >= 0).sum())))
