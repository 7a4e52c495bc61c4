"""Answers for a video that nobody can look at: what a bundle's training saw most.

A bundle keeps how often training saw each (verb, noun) pair, in its backpack, and how many segments
there were with and without a change. Where it does not, the answer is a neutral one.
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
    """Answers a test set's questions without a look at any video.

    LTA's futures are (verb, noun) pairs drawn as often as training saw them; the first future
    repeats the most frequent pair where the bundle's first one is greedy. OSCC's answer is the more
    frequent one, PNR's the middle of the segment.
    """

    def __init__(self, bundle: Bundle, *, seed: int = 0) -> None:
        """Reads what the bundle keeps.

        Args:
            bundle: whose training counts.
            seed: of LTA's futures; each question draws from it and its id.
        """
        manifest = bundle.manifest
        self._seed = seed
        self._greedy_first = ModelConfig.from_dict(manifest.model).greedy_first
        self._sizes = {space: len(names) for space, names in manifest.label_spaces.items()}
        self._pairs = _pair_counts(bundle, self._sizes)
        seen = manifest.training.get("samples", {}).get("train", {})
        positives, segments = seen.get(PNR.name), seen.get(OSCC.name)
        counted = None not in (positives, segments)  # but a few, positives are samples of PNR
        self._changes = 2 * positives > segments if counted else None

    def source(self, task: str) -> str:
        """Returns in words what a task's answers are made from."""
        if task == LTA.name:
            return "uniform" if self._pairs is None else "(verb, noun) pairs of training"
        if task == OSCC.name:
            return "no change" if self._changes is None else "majority of training"
        return "middle of the segment"

    def answers(self, task: str, questions: Sequence[ChallengeItem]) -> dict[str, Any]:
        """Returns an answer for each question, id -> answer, as the task's file has it."""
        answer = {LTA.name: self._futures, OSCC.name: self._state, PNR.name: self._frame}[task]
        return {question.id: answer(question) for question in questions}

    def _state(self, _: ChallengeItem) -> bool:
        return bool(self._changes)

    def _frame(self, question: ChallengeItem) -> float:
        return question.length_frames / 2

    def _futures(self, question: ChallengeItem) -> dict[str, list[list[int]]]:
        generator = torch.Generator().manual_seed(seed_of(self._seed, question.id))
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
    # Imported prototypes may not say of which action they are, or of how many samples.
    known = (verb >= 0) & (verb < sizes["verb"]) & (noun >= 0) & (noun < sizes["noun"])
    known &= count > 0
    return (verb[known], noun[known], count[known]) if bool(known.any()) else None
