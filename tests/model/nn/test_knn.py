import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.nn.knn import FEW_PROTOTYPES, FaissIndex, TorchIndex, build_index


@settings(max_examples=50, deadline=None)
@given(
    rows=st.integers(1, 200),
    width=st.integers(1, 40),
    queries=st.integers(1, 20),
    k=st.integers(1, 12),
    seed=st.integers(0, 2**16),
)
def test_faiss_and_torch_find_the_same_neighbours(rows, width, queries, k, seed):
    generator = torch.Generator().manual_seed(seed)
    prototypes = torch.randn(rows, width, generator=generator)
    asked = torch.randn(queries, width, generator=generator)
    found, cosine = TorchIndex(prototypes).search(asked, k)
    other, other_cosine = FaissIndex(prototypes).search(asked, k)
    assert found.shape == (queries, min(k, rows))
    torch.testing.assert_close(cosine, other_cosine, atol=1e-5, rtol=0)
    apart = (found != other) & ((cosine - other_cosine).abs() > 1e-5)  # ties may swap
    assert not apart.any()
    if width > 1:
        near = torch.nn.functional.cosine_similarity(asked.unsqueeze(1), prototypes[other], dim=-1)
        torch.testing.assert_close(near, cosine, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", [TorchIndex, FaissIndex])
def test_a_prototype_is_its_own_nearest_neighbour_whatever_its_length(kind):
    prototypes = torch.randn(30, 16)
    found, cosine = kind(prototypes).search(prototypes * torch.rand(30, 1).add(0.1), 3)
    assert found[:, 0].tolist() == list(range(30))
    torch.testing.assert_close(cosine[:, 0], torch.ones(30))


@pytest.mark.parametrize("kind", [TorchIndex, FaissIndex])
def test_a_zero_query_gets_an_answer_and_no_nan(kind):
    _, cosine = kind(torch.randn(5, 4)).search(torch.zeros(1, 4), 2)
    assert torch.isfinite(cosine).all()


def test_auto_depends_on_the_number_of_prototypes_alone():
    for rows, name in ((1, "faiss"), (FEW_PROTOTYPES, "faiss"), (FEW_PROTOTYPES + 1, "torch")):
        chosen = {build_index(torch.randn(rows, 8), "auto").name for _ in range(5)}
        assert chosen == {name}
    assert build_index(torch.randn(50, 8), "faiss").name == "faiss"


@pytest.mark.parametrize("distance", ["cosine", "l2"])
def test_autocast_changes_no_neighbour(distance):
    """As a training on a GPU runs it; in bfloat16 about one neighbour in four is another."""
    draw = torch.Generator().manual_seed(0)
    rows, queries = (torch.randn(n, 64, generator=draw) for n in (2000, 50))
    index = TorchIndex(rows, distance)
    expected = index.search(queries, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = index.search(queries, 8)
    for ours, theirs in zip(found, expected, strict=True):
        assert torch.equal(ours, theirs)
