from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from model.nn.interaction import PrototypeInteraction
from model.nn.knn import TorchIndex
from tests.support.factories import TINY

PAPER = replace(TINY, interaction="paper")


def naive(module, queries, prototypes, k):
    """Equation 3, one query at a time, neighbours looked up again in every layer."""
    out = []
    for h in queries:
        for layer in module.layers:
            cosine = F.cosine_similarity(h.unsqueeze(0), prototypes)
            closest = prototypes[cosine.topk(k).indices].max(dim=0).values
            h = layer.root.weight @ h + layer.neighbours.weight @ closest
        out.append(h)
    return torch.stack(out)


def test_the_paper_variant_is_equation_3():
    module = PrototypeInteraction(PAPER)
    queries, prototypes = torch.randn(5, 8), torch.randn(9, 8)
    refined, _, _ = module(queries, prototypes, TorchIndex(prototypes))
    torch.testing.assert_close(refined, naive(module, queries, prototypes, 3))


def test_without_rematching_the_first_neighbours_stay():
    module = PrototypeInteraction(replace(PAPER, rematch=False))
    queries, prototypes = torch.randn(5, 8), torch.randn(9, 8)
    refined, rows, _ = module(queries, prototypes, TorchIndex(prototypes))
    h = queries
    for layer in module.layers:
        h = layer(h, prototypes[rows].amax(dim=1))
    torch.testing.assert_close(refined, h)


@pytest.mark.parametrize("config", [TINY, PAPER], ids=["authors", "paper"])
def test_prototypes_get_no_gradient_and_layers_do(config):
    module = PrototypeInteraction(config)
    prototypes = torch.randn(9, 8, requires_grad=True)
    queries = torch.randn(5, 8, requires_grad=True)
    refined, _, _ = module(queries, prototypes, TorchIndex(prototypes))
    refined.square().sum().backward()
    assert prototypes.grad is None
    assert queries.grad is not None
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


def test_a_query_is_refined_the_same_alone_and_among_others():
    module = PrototypeInteraction(TINY)
    queries, prototypes = torch.randn(6, 8), torch.randn(9, 8)
    index = TorchIndex(prototypes)
    together, _, _ = module(queries, prototypes, index)
    alone = torch.cat([module(q.unsqueeze(0), prototypes, index)[0] for q in queries])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_the_order_of_prototypes_does_not_matter():
    module = PrototypeInteraction(TINY)
    queries, prototypes = torch.randn(6, 8), torch.randn(9, 8)
    order = torch.randperm(9)
    first = module(queries, prototypes, TorchIndex(prototypes))[0]
    second = module(queries, prototypes[order], TorchIndex(prototypes[order]))[0]
    torch.testing.assert_close(first, second)
