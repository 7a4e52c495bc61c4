"""The spread of actions, against dense float64 algebra."""

import pytest
import torch

from model.errors import BackpackInvalid
from model.nn.few_labels.spread import PRIOR_COUNT, ActionSpread, spread_of, spreads_from


def make_spread(width=12, rank=3, rows=4, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    factor = torch.randn(width, rank, generator=generator, dtype=dtype)
    diagonal = torch.rand(width, generator=generator, dtype=dtype) + 0.1
    return ActionSpread(factor, diagonal, torch.ones(rows, dtype=dtype))


def make_actions(width=6, actions=5, each=40, seed=1):
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=generator, dtype=torch.float64)
    member = torch.arange(actions).repeat_interleave(each)
    noise = torch.randn(len(member), width, generator=generator, dtype=torch.float64) @ mixing
    means = 10 * torch.randn(actions, width, generator=generator, dtype=torch.float64)
    return means[member] + noise, member, torch.bincount(member)


@pytest.mark.parametrize("amount", [0.0, 0.3, 1.0])
def test_closed_forms_are_those_of_the_dense_covariance(amount):
    spread = make_spread().shrunk(amount)
    dense = spread.dense()
    vectors = torch.randn(7, 12, dtype=torch.float64)
    torch.testing.assert_close(spread.solve(vectors), torch.linalg.solve(dense, vectors.T).T)
    torch.testing.assert_close(spread.log_determinant(), torch.logdet(dense))


def test_shrinking_is_a_mixture_with_a_multiple_of_the_identity():
    spread = make_spread()
    dense = spread.dense()
    identity = torch.eye(12, dtype=torch.float64) * dense.trace() / 12
    torch.testing.assert_close(spread.shrunk(0.4).dense(), 0.6 * dense + 0.4 * identity)


def test_with_all_directions_it_is_the_pooled_within_action_covariance():
    views, member, count = make_actions()
    dense = sum(
        (len(rows) - 1) * torch.cov(rows.T) for rows in (views[member == a] for a in range(5))
    ) / (len(views) - 5)
    spread = spread_of(views, member, count)
    torch.testing.assert_close(spread.dense().double(), dense, rtol=1e-4, atol=1e-4)


def test_fewer_directions_keep_the_variances_and_the_largest_part():
    views, member, count = make_actions()
    full, low = (spread_of(views, member, count, rank=r).dense() for r in (6, 2))
    torch.testing.assert_close(low.diagonal(), full.diagonal())
    best = torch.linalg.eigvalsh(full.double())[:-2].square().sum().sqrt()
    assert float((full - low).norm()) <= 1.01 * float(best)


def test_a_rare_actions_variance_is_drawn_to_the_pooled_one():
    views, member, count = make_actions(actions=3, each=60)
    means = torch.stack([views[member == a].mean(dim=0) for a in range(3)])
    wide = means[member] + torch.tensor([1, 1, 3])[member].unsqueeze(1) * (views - means[member])
    often = spread_of(wide, member, count).relative
    kept = torch.cat([torch.arange(120), torch.arange(120, 123)])
    rare = spread_of(wide[kept], member[kept], torch.tensor([60, 60, 3])).relative
    assert often[2] > 1.8 > 1 > often[:2].max()
    assert abs(rare[2] - 1) < 0.4 * PRIOR_COUNT  # two degrees of freedom against ten


def test_a_single_action_of_each_has_no_spread():
    assert spread_of(torch.randn(4, 3), torch.arange(4), torch.ones(4, dtype=torch.long)) is None


def test_tensors_that_do_not_fit_the_prototypes_are_refused():
    tensors = make_spread().to_tensors("shared/spread/ar")
    prototypes = torch.zeros(4, 12)
    assert set(spreads_from(tensors, "shared/spread", {"ar": prototypes})) == {"ar"}
    assert spreads_from({}, "shared/spread", {"ar": prototypes}) == {}
    with pytest.raises(BackpackInvalid, match="shape"):
        spreads_from(tensors, "shared/spread", {"ar": prototypes[:3]})
    with pytest.raises(BackpackInvalid, match="lta"):
        spreads_from(tensors, "shared/spread", {"ar": prototypes, "lta": prototypes})
    with pytest.raises(BackpackInvalid, match="expected a spread of shapes"):
        ActionSpread(torch.zeros(3), torch.zeros(3), torch.zeros(2))
