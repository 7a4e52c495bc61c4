import numpy as np
import pytest
import torch

from model.nn.skill_set import Backbone
from model.train.new_skill.few_labels import classes_of, learn_panel, rows_of
from model.train.new_skill.teaching import curve
from model.train.new_skill.teaching.curve import Curve, learning_curve
from tests.support.factories import make_samples, make_skills


@pytest.fixture(scope="module")
def panel():
    skills = make_skills()
    backbone = Backbone(skills.models["shared"], skills.backpacks["shared"])
    samples = make_samples()["oscc"].take(torch.arange(16))
    names = [f"v{i // 4}:{i}" for i in range(16)]
    samples = type(samples)(**{**vars(samples), "names": names})
    return backbone, samples, learn_panel(backbone, samples, rows_of(backbone, samples), 2, seed=0)


def drawn(panel, seed=0, samples=None):
    backbone, whole, fitted = panel
    return learning_curve(backbone, samples or whole, fitted, fitted.weights(), seed=seed)


def test_a_curve_is_of_more_and_more_labels_and_the_same_for_a_seed(panel):
    found = drawn(panel)
    sizes = found.sizes.tolist()
    assert sizes == sorted(set(sizes))
    assert sizes[0] >= 2
    assert sizes[-1] == 12  # of 16 labels in 4 videos, one video is held out
    again, other = drawn(panel), drawn(panel, seed=1)
    assert torch.equal(again.hits, found.hits)
    assert not torch.equal(other.hits, found.hits)
    for point in found.points():
        assert 0 <= point["low"] <= point["accuracy"] <= point["high"] <= 1


def test_its_end_is_the_accuracy_with_every_other_video(panel):
    """With one fold a video there is one way to deal them out, and the weights are the same."""
    _, samples, fitted = panel
    votes, labels = fitted.held_out.votes, fitted.held_out.labels
    weights = fitted.weights()
    factor = torch.tensor([weights.get(n, 0) for n in fitted.fitted], dtype=torch.float64)
    right = torch.einsum("v,vry->ry", factor, votes).argmax(dim=1) == labels
    assert len(labels) == len(classes_of(samples))
    assert drawn(panel).hits[-1].mean() == pytest.approx(right.double().mean())


def test_few_and_many_labels_have_none(panel, monkeypatch):
    _, samples, _ = panel
    assert drawn(panel, samples=samples.take(torch.arange(7))) is None
    monkeypatch.setattr(curve, "MOST", 15)
    assert drawn(panel) is None


def test_every_class_is_among_the_first_and_draws_are_nested():
    labels = torch.tensor([0] * 10 + [1] * 5 + [2])
    mask = torch.ones(16, dtype=torch.float64)
    mask[3] = 0
    for seed in range(5):
        found = curve._prefixes(mask, labels, torch.Generator().manual_seed(seed))
        assert (found[:, 3] == 0).all()
        assert (found[1:] >= found[:-1]).all()
        assert found.sum(dim=1).tolist() == [4, 8, 11, 15]
        assert set(labels[found[0] > 0].tolist()) == {0, 1, 2}


@pytest.mark.parametrize(("limit", "slope"), [(0.9, 1.0), (0.7, 0.0), (0.95, 0.5)])
def test_a_curve_of_the_form_that_is_fitted_is_continued_exactly(limit, slope):
    sizes = torch.tensor([4.0, 8.0, 12.0, 16.0])
    expected = limit - slope / np.sqrt(sizes.numpy())
    found = Curve(sizes, torch.tensor(expected)[:, None].expand(4, 20).double(), 20)
    forecast = found.forecast(seed=0)
    assert forecast["labels"] == 30
    assert forecast["accuracy"] == pytest.approx(limit - slope / 30**0.5)
    assert forecast["low"] < forecast["accuracy"] < forecast["high"]


def test_a_curve_that_falls_is_not_continued_downwards():
    hits = torch.tensor([[0.9], [0.8], [0.7]]).expand(3, 20).double()
    found = Curve(torch.tensor([4.0, 8.0, 12.0]), hits, 15)
    assert found.forecast(seed=0)["accuracy"] == pytest.approx(0.8)
    perfect = Curve(torch.tensor([4.0, 8.0]), torch.ones(2, 20).double(), 10).forecast(seed=0)
    assert perfect["accuracy"] == 1
    assert 0.8 < perfect["low"] < 0.9  # twenty right ones are not all there are


@pytest.mark.parametrize("true", [0.6, 0.8])
def test_the_interval_of_a_forecast_covers_the_accuracy_that_labels_are_drawn_with(true):
    generator = torch.Generator().manual_seed(0)
    sizes, covered = torch.tensor([4.0, 8.0, 12.0, 16.0]), 0
    chance = true + 0.5 / 30**0.5 - 0.5 / sizes.sqrt()
    for _ in range(60):
        easy = torch.rand(20, generator=generator)  # a label that is hard is hard at every size
        hits = torch.stack([(easy < c).double() for c in chance])
        found = Curve(sizes, hits, 20).forecast(seed=0)
        covered += found["low"] <= true <= found["high"]
    assert covered >= 54
