"""What crosses between host and device: one copy there, and one back for each type of number."""

from dataclasses import asdict

import pytest
import torch

from model.predict.predictor import Predictor
from model.predict.search import SearchQuery
from model.predict.transfer import to_device, to_host
from tests.model.predict.requests import request
from tests.model.predict.test_predictor import close
from tests.support.device import DEVICE, FakeDevice, move_module
from tests.support.factories import make_bundle, with_forecaster


def on_device(bundle):
    """A predictor whose models are on the stand-in; to be used within it."""
    predictor = Predictor(bundle, search="torch")
    move_module(predictor.skills)
    predictor.skills.backpacks.update(
        {name: b and b.to(DEVICE) for name, b in predictor.skills.backpacks.items()}
    )
    predictor.device = DEVICE
    return predictor


@pytest.mark.parametrize("make", [make_bundle, lambda: with_forecaster(make_bundle())])
@pytest.mark.parametrize("requests", [1, 3])
def test_the_host_waits_twice_a_batch_whatever_it_asks(make, requests):
    bundle = make()
    plain = Predictor(bundle, search="torch")
    asked = [request(plain, 1200 + 300 * i, seed=i) for i in range(requests)]
    expected = plain.predict(asked)
    with FakeDevice() as device:
        predictor = on_device(bundle)
        predictor.predict(asked)  # constants are copied once
        device.waits.clear()
        found = predictor.predict(asked)
    assert device.waits == {"cpu": 2}  # numbers and rows
    assert len(found[0].segments) == 5
    for mine, other in zip(found, expected, strict=True):
        assert close(asdict(mine), asdict(other))


def test_a_search_waits_twice(predictor):
    asked = request(predictor, 1200)
    expected = predictor.search(asked, SearchQuery())
    with FakeDevice() as device:
        there = on_device(make_bundle())
        there.search(asked, SearchQuery())
        device.waits.clear()
        found = there.search(asked, SearchQuery())
        assert device.waits == {"cpu": 2}
        device.waits.clear()
        of_action = there.backpacks.of_action("verb1", "noun1", SearchQuery())
        assert device.waits == {"cpu": 2}
    assert found[0] == expected[0]
    for mine, other in zip(found[1].nearest, expected[1].nearest, strict=True):
        assert close(
            {t: list(map(asdict, near)) for t, near in mine.items()},
            {t: list(map(asdict, near)) for t, near in other.items()},
        )
    assert of_action.nearest[0]


def test_tensors_cross_whole_in_order_and_in_one_piece_a_type():
    made = [torch.randn(2, 3), torch.arange(4), torch.randn(0, 5), torch.tensor(7), torch.randn(1)]
    with FakeDevice() as device:
        there = to_device(made, DEVICE)
        assert device.waits == {}
        assert all(tensor.device == DEVICE for tensor in there)
        back = to_host(there)
        assert device.waits == {"cpu": 2}
    for tensor, own in zip(back, made, strict=True):
        assert tensor.dtype == own.dtype
        assert torch.equal(tensor, own)


def test_on_a_processor_nothing_is_copied():
    made = [torch.randn(2, 3), torch.arange(4)]
    assert all(a is b for a, b in zip(to_host(made), made, strict=True))
    assert all(a is b for a, b in zip(to_device(made, torch.device("cpu")), made, strict=True))
