import pytest
import torch
from torch.nn import functional as F

from model.nn.few_labels.logistic import fit_logistic


def make(samples=30, width=50, labels=3):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(samples, width, generator=generator, dtype=torch.float64) + 5
    return x, torch.arange(samples) % labels


def optimum(x, y, mask, labels, penalty):
    """The same objective, minimised by torch's L-BFGS without any reduction."""
    centred = x - x.mean(dim=0)
    z = centred / centred.square().sum(dim=1).mean().sqrt()
    z = torch.cat([z, torch.ones_like(z[:, :1])], dim=1)
    theta = torch.zeros(labels, z.shape[1], dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([theta], max_iter=500, line_search_fn="strong_wolfe",
                               tolerance_grad=1e-10, tolerance_change=1e-14)  # fmt: skip

    def loss():
        solver.zero_grad()
        losses = F.cross_entropy(z @ theta.T, y, reduction="none")
        total = (losses * mask).sum() + penalty / 2 * theta.square().sum()
        total.backward()
        return total

    solver.step(loss)
    return z @ theta.detach().T


@pytest.mark.parametrize("width", [4, 50])
@pytest.mark.parametrize("penalty", [0.01, 1.0])
def test_it_is_the_optimum_of_the_penalised_likelihood_in_every_fold(width, penalty):
    x, y = make(width=width)
    masks = torch.ones(2, len(x), dtype=torch.float64)
    masks[1, :7] = 0
    weight, bias = fit_logistic(x, y, masks, 3, penalty=penalty)
    for k in range(2):
        expected = optimum(x, y, masks[k], 3, penalty)
        torch.testing.assert_close(x @ weight[k].T + bias[k], expected, atol=2e-2, rtol=2e-2)


def test_scale_and_origin_of_the_features_do_not_matter():
    x, y = make()
    masks = torch.ones(1, len(x), dtype=torch.float64)
    answers = []
    for moved in (x, 100 * x - 7):
        weight, bias = fit_logistic(moved, y, masks, 3, penalty=0.1)
        answers.append(moved @ weight[0].T + bias[0])
    torch.testing.assert_close(*answers, atol=1e-6, rtol=1e-6)


def test_one_label_a_class_has_an_optimum_too():
    x, y = make(samples=3)
    weight, bias = fit_logistic(x, y, torch.ones(1, 3, dtype=torch.float64), 3, penalty=0.1)
    assert ((x @ weight[0].T + bias[0]).argmax(dim=1) == y).all()
