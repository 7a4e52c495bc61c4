import pytest
import torch

from model.nn.few_labels.panel import fit_panel, usable_voters
from model.nn.few_labels.voters import VOTERS
from tests.model.nn.few_labels.made import LABELS, PERSPECTIVES, make_world


def panel_of(each, names=None, seed=0):
    rows, labels, pack = make_world()
    few = torch.cat([(labels == c).nonzero()[:each, 0] for c in range(LABELS)])
    videos = [f"v{i % 7}" for i in few.tolist()]
    names = names or usable_voters(pack, len(few), 1000)
    return fit_panel(
        names, rows.take(few), labels[few], LABELS, videos, pack, PERSPECTIVES, seed=seed
    ), rows, labels  # fmt: skip


def test_every_voter_learns_and_the_weighed_sum_does():
    panel, rows, labels = panel_of(10)
    assert list(panel.fitted) == list(VOTERS)
    votes = panel.votes(rows)
    assert torch.allclose(votes.exp().sum(dim=2), torch.ones(1, dtype=torch.float64))
    for name, vote in zip(VOTERS, votes, strict=True):
        assert float((vote.argmax(dim=1) == labels).double().mean()) > 0.5, name
    weights = panel.weights()
    fused = sum(w * votes[list(VOTERS).index(name)] for name, w in weights.items())
    assert float((fused.argmax(dim=1) == labels).double().mean()) > 0.7


def test_out_of_fold_votes_are_of_voters_that_have_not_seen_the_row():
    panel, rows, labels = panel_of(4, names=["own"])
    held = panel.held_out
    few = torch.cat([(labels == c).nonzero()[:4, 0] for c in range(LABELS)])
    videos = [f"v{i % 7}" for i in few.tolist()]
    kept = held.fold != held.fold[0]
    alone = fit_panel(
        ["own"], rows.take(few[kept]), labels[few[kept]], LABELS,
        [v for v, k in zip(videos, kept.tolist(), strict=True) if k], None, (), seed=0,
    )  # fmt: skip
    vote = alone.votes(rows.take(few[:1]))[0, 0]
    assert held.votes[0, 0].argmax() == vote.argmax()


def test_one_label_a_class_gives_the_prior_and_no_judgement():
    panel, _, _ = panel_of(1)
    assert panel.held_out is None
    assert panel.cross_validated() is None
    assert sum(panel.weights().values()) > 0


@pytest.mark.parametrize("each", [2, 10])
def test_the_judgement_covers_the_held_out_labels(each):
    panel, _, _ = panel_of(each)
    fused, truth = panel.cross_validated()
    assert len(fused) == len(truth) <= each * LABELS


def test_voters_that_a_backpack_does_not_allow_are_left_out():
    _, _, pack = make_world()
    assert usable_voters(None, 5, 1000) == ["own"]
    assert "examples" not in usable_voters(pack, 1001, 1000)
    pack.spread.clear()
    assert set(usable_voters(pack, 5, 1000)) == set(VOTERS) - {"gaussian", "calibrated"}
