import pytest
import torch

from model.nn.dropout import Dropout, dropout_mask


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_a_share_is_dropped_and_the_mean_stays(share):
    torch.manual_seed(0)
    y = Dropout(share)(torch.ones(1000, 1001))
    assert (y == 0).float().mean().item() == pytest.approx(share, abs=2e-3)
    assert y.mean().item() == pytest.approx(1.0, abs=5e-3)
    assert y.unique().tolist() == pytest.approx([0.0, 1 / (1 - share)])


def test_values_are_dropped_independently_of_their_neighbours():
    torch.manual_seed(0)
    kept = dropout_mask(400_000, 0.5).float() - 0.5
    for distance in (1, 2, 3, 4, 5):  # four values share a number
        together = (kept[:-distance] * kept[distance:]).mean().item()
        assert together == pytest.approx(0, abs=2e-3)  # four standard errors


def test_the_gradient_passes_where_the_value_did():
    x = torch.randn(50, 7, requires_grad=True)
    y = Dropout(0.4)(x)
    y.sum().backward()
    torch.testing.assert_close(x.grad, torch.where(y == 0, 0.0, 1 / 0.6))


def test_it_follows_the_global_seed():
    layer, x = Dropout(0.5), torch.ones(9, 3)
    torch.manual_seed(1)
    first, second = layer(x), layer(x)
    torch.manual_seed(1)
    assert torch.equal(layer(x), first)
    assert not torch.equal(first, second)


def test_evaluation_and_a_share_of_zero_change_nothing():
    x = torch.randn(3, 5)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        Dropout(share)
