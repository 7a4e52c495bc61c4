"""Prior answers for videos without features: the label frequencies of a bundle's training.

A bundle keeps the count of each (verb, noun) pair of training in its backpack, and the numbers of
segments with and without a change. Where they are missing, the answer is a neutral one.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from model.config import ModelConfig
from model.predict.futures import seed_of
from model.score.test_set import NUM_STEPS, ChallengeItem
from model.tasks import LTA, NUM_HYPOTHESES, OSCC, PNR
from weights.bundle import Bundle


class Prior:
    """Answers items from label frequencies alone.

    LTA's futures are (verb, noun) pairs sampled by their training frequency; the first future
    repeats the most frequent pair if the bundle's first one is greedy. OSCC's answer is the
    majority class, PNR's the middle of the segment.
    """

    def __init__(self, bundle: Bundle, *, seed: int = 0) -> None:
        """Reads the frequencies.

        Args:
            bundle: with the counts of its training.
            seed: of LTA's futures, combined with each item's id.
        """
        manifest = bundle.manifest
        self._seed = seed
        self._greedy_first = ModelConfig.from_dict(manifest.model).greedy_first
        self._sizes = {space: len(names) for space, names in manifest.label_spaces.items()}
        self._pairs = _pair_counts(bundle, self._sizes)
        seen = manifest.training.get("samples", {}).get("train", {})
        positives, segments = seen.get(PNR.name), seen.get(OSCC.name)
        counted = None not in (positives, segments)  # nearly all positives are samples of PNR
        self._changes = 2 * positives > segments if counted else None

    def source(self, task: str) -> str:
        """Returns the name of the prior of a task."""
        if task == LTA.name:
            return "uniform" if self._pairs is None else "(verb, noun) pairs of training"
        if task == OSCC.name:
            return "no change" if self._changes is None else "majority of training"
        return "middle of the segment"

    def answers(self, task: str, items: Sequence[ChallengeItem]) -> dict[str, Any]:
        """Returns an answer for each item, id -> answer, in the format of the task's file."""
        answer = {LTA.name: self._futures, OSCC.name: self._state, PNR.name: self._frame}[task]
        return {item.id: answer(item) for item in items}

    def _state(self, _: ChallengeItem) -> bool:
        return bool(self._changes)

    def _frame(self, item: ChallengeItem) -> float:
        return item.length_frames / 2

    def _futures(self, item: ChallengeItem) -> dict[str, list[list[int]]]:
        generator = torch.Generator().manual_seed(seed_of(self._seed, item.id))
        shape = (NUM_HYPOTHESES, NUM_STEPS)
        if self._pairs is None:
            drawn = {
                space: torch.randint(self._sizes[space], shape, generator=generator)
                for space in LTA.outputs
            }
        else:
            *ids, count = self._pairs
            which = torch.multinomial(
                count.double(), NUM_HYPOTHESES * NUM_STEPS, replacement=True, generator=generator
            ).view(shape)
            if self._greedy_first:
                which[0] = count.argmax()
            drawn = {space: known[which] for space, known in zip(LTA.outputs, ids, strict=True)}
        return {space: values.tolist() for space, values in drawn.items()}


def _pair_counts(bundle: Bundle, sizes: dict[str, int]) -> tuple[Tensor, Tensor, Tensor] | None:
    """Returns verb ids, noun ids and counts of the pairs seen in training, (P,) each, if known."""
    skill = bundle.manifest.skills.get(LTA.name)
    if skill is None:
        return None
    names = (f"{skill['backbone']}/{part}" for part in ("verb_id", "noun_id", "count"))
    found = [bundle.backpack[name] for name in names if name in bundle.backpack]
    if len(found) != 3:
        return None
    verb, noun, count = found
    # Imported prototypes may lack their action or their sample count.
    known = (verb >= 0) & (verb < sizes["verb"]) & (noun >= 0) & (noun < sizes["noun"])
    known &= count > 0
    return (verb[known], noun[known], count[known]) if bool(known.any()) else None
