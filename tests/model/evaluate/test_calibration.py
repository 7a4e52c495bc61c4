import pytest
import torch

from model.evaluate.calibration import competing, fit_temperature
from model.tasks import IGNORE
from tests.model.support.unlabelled import NUM


def test_one_temperature_is_fitted_on_nodes_that_compete_or_on_every_node():
    keyframe = torch.tensor([[[0.1], [0.7], [0.2]]])
    rows, truth = competing(keyframe, torch.tensor([[0, 0, 1]]))
    assert rows.tolist() == [[pytest.approx(0.1), pytest.approx(0.7), pytest.approx(0.2)]]
    assert truth.tolist() == [2]
    rows, truth = competing(torch.arange(12.0).view(2, 2, 3), torch.tensor([[0, 1], [2, 0]]))
    assert rows.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert truth.tolist() == [0, 1, 2, 0]


def test_a_temperature_undoes_a_known_scale_and_keeps_every_decision():
    g = torch.Generator().manual_seed(0)
    true = torch.randn(4000, 5, generator=g) * 2
    labels = torch.multinomial(true.softmax(1), 1, generator=g)[:, 0]
    fitted = fit_temperature(true * 4, labels)
    assert fitted.temperature == pytest.approx(4, rel=0.1)
    assert fitted.ece_after < fitted.ece_before
    scaled = (true * 4 / fitted.temperature).argmax(1)
    assert torch.equal(scaled, true.argmax(1))


def test_a_temperature_is_fitted_on_the_labelled_alone():
    g = torch.Generator().manual_seed(1)
    logits = torch.randn(NUM, 4, 3, generator=g)
    labels = torch.randint(3, (NUM, 4), generator=g)
    labels[::2, 1] = IGNORE
    rows, truth = competing(logits, labels)
    assert len(rows) == len(truth) == int((labels != IGNORE).sum())
    expected = fit_temperature(logits[labels != IGNORE], labels[labels != IGNORE])
    assert fit_temperature(rows, truth) == expected
