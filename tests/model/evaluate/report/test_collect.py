import pytest
import torch

from model.evaluate.report.collect import FUSED, answer_split
from model.evaluate.scoring import score_logits, score_split
from model.nn.skill import OWN
from model.tasks import TASKS
from tests.model.support.samples import make_split
from tests.support.factories import TINY, make_skills


@pytest.fixture(scope="module")
def answered():
    split, told = make_split(70), []
    return split, answer_split(make_skills(), split, TINY, progress=told.append), told


def test_answers_score_as_the_split_does(answered):
    split, answers, _ = answered
    logits, labels = ({t: getattr(a, what) for t, a in answers.items()}
                      for what in ("logits", "labels"))  # fmt: skip
    assert score_logits(logits, labels, split, TINY, {}) == score_split(
        make_skills(), split, TINY, {}
    )


def test_every_vote_decides_for_its_own_best(answered):
    split, answers, _ = answered
    skills = make_skills()
    for task, said in answers.items():
        which = torch.tensor([3, 66])
        votes = skills({task: split[task].draw(which, TINY).inputs})[task]
        for output, by in votes.logits.items():
            assert list(said.decisions[output]) == [*by, FUSED]
            assert OWN in by
            for who, logits in {**by, FUSED: votes.fused()[output]}.items():
                axis = 1 if output == "keyframe" else 2
                best = logits.argmax(dim=axis).view(2, -1)
                assert torch.equal(said.decisions[output][who][which], best)
        for view, rows in votes.rows.items():
            assert torch.equal(said.rows[view][which], rows)


def test_progress_tells_of_every_sample(answered):
    split, _, told = answered
    assert sum(told) == sum(map(len, split.values())) == 70 * len(TASKS)
