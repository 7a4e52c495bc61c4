import pytest
import torch
from torch import nn

from extract.cpu import one_thread_per_core
from model.train.encoder.sharded import sharded_backward

DATA = torch.randn(6, 4, 3, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=[1, 2, 3])
def num_threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.GELU(), nn.Linear(5, 1))


def test_gradients_are_those_of_the_mean_loss(num_threads):
    model, twin = make(), make()
    with one_thread_per_core() as pool:
        value = sharded_backward(model, lambda x: model(x).square().mean(), pool)(list(DATA))
    whole = twin(DATA.flatten(0, 1)).square().mean()
    whole.backward()
    torch.testing.assert_close(value, whole.detach())
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_the_number_of_threads_changes_no_bit(num_threads):
    def gradients():
        model = make()
        with one_thread_per_core() as pool:
            sharded_backward(model, lambda x: model(x).square().mean(), pool)(list(DATA))
        return [p.grad for p in model.parameters()]

    ours = gradients()
    torch.set_num_threads(1)
    for a, b in zip(ours, gradients(), strict=True):
        assert torch.equal(a, b)


def test_an_error_in_a_shard_is_raised_and_threads_are_given_back(num_threads):
    def loss(shard):
        raise FloatingPointError("no loss")

    with pytest.raises(FloatingPointError, match="no loss"), one_thread_per_core() as pool:
        sharded_backward(make(), loss, pool)([1, 2])
    assert torch.get_num_threads() == num_threads


def test_a_parameter_no_shard_uses_gets_no_gradient(num_threads):
    model = nn.ModuleList([nn.Linear(3, 1), nn.Linear(3, 1)])
    with one_thread_per_core() as pool:
        sharded_backward(model, lambda x: model[0](x).sum(), pool)(list(DATA))
    assert model[0].weight.grad is not None
    assert model[1].weight.grad is None
