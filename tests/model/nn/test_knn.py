import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import SettingInvalid
from model.nn import knn
from model.nn.knn import FEW_PROTOTYPES, FaissGpuIndex, FaissIndex, TorchIndex, build_index


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


class OnGpu(torch.Tensor):
    """Numbers in memory that say they are on a GPU."""

    is_cuda = property(lambda self: True)
    device = property(lambda self: torch.device("cuda", 1))


class FakeIndex:
    """What FAISS promises of an index on a GPU; `calls` is what was asked of it, in order."""

    calls: list[str]
    failure = ""

    def __init__(self, resources, width, config):
        assert resources.settings == {"pinned": 0, "temporary": 64 << 20}
        assert config.device == 1
        self.calls.append(f"index of {width} in float{16 if config.useFloat16 else 32}")
        self.rows = torch.zeros(0, width)

    @property
    def ntotal(self):
        return len(self.rows)

    def add(self, rows):
        self.check(rows)
        self.calls.append(f"add {len(rows)}")
        self.rows = torch.cat([self.rows, rows.as_subclass(torch.Tensor)])

    def search(self, queries, k):
        self.check(queries)
        assert k <= self.ntotal
        assert not torch.is_autocast_enabled("cuda")
        return self.nearest(queries.as_subclass(torch.Tensor), k)

    def check(self, vectors):
        if self.failure:
            raise RuntimeError(self.failure)
        assert isinstance(vectors, OnGpu)
        assert (vectors.dtype, vectors.is_contiguous()) == (torch.float32, True)
        assert not vectors.requires_grad


class FakeIP(FakeIndex):
    def nearest(self, queries, k):
        return tuple((queries @ self.rows.T).topk(k))


class FakeL2(FakeIndex):
    def nearest(self, queries, k):
        found = torch.cdist(queries, self.rows).square().topk(k, largest=False)
        return found.values, found.indices


class FakeResources:
    def __init__(self):
        self.settings = {}

    def setPinnedMemory(self, size):
        self.settings["pinned"] = size

    def setTempMemory(self, size):
        self.settings["temporary"] = size


@pytest.fixture
def faiss_gpu(monkeypatch):
    """FAISS as built for GPUs, one with 1 MiB free."""
    module = ModuleType("faiss")
    module.StandardGpuResources = FakeResources
    module.GpuIndexFlatConfig = SimpleNamespace
    module.GpuIndexFlatIP, module.GpuIndexFlatL2 = FakeIP, FakeL2
    monkeypatch.setattr(FakeIndex, "calls", [], raising=False)
    for name in ("faiss", "faiss.contrib", "faiss.contrib.torch_utils"):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100 << 20, 200 << 20))
    return FakeIndex


@pytest.mark.parametrize("distance", ["cosine", "l2"])
def test_faiss_on_a_gpu_finds_what_torch_finds(faiss_gpu, distance, monkeypatch):
    monkeypatch.setattr(knn, "_ROWS_AT_ONCE", 128)
    draw = torch.Generator().manual_seed(3)
    rows, queries = (torch.randn(n, 16, generator=draw) for n in (300, 7))
    expected = TorchIndex(rows, distance).search(queries, 5)
    index = build_index(rows.as_subclass(OnGpu), "faiss-gpu", distance)
    torch.set_autocast_enabled("cuda", True)
    try:
        found = index.search(queries.as_subclass(OnGpu).requires_grad_(), 5)
    finally:
        torch.set_autocast_enabled("cuda", False)
    assert torch.equal(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1], rtol=1e-4, atol=1e-4)
    assert faiss_gpu.calls == ["index of 16 in float32", "add 128", "add 128", "add 44"]
    assert index.search(queries.as_subclass(OnGpu), 999)[0].shape == (7, 300)


def test_faiss_on_a_gpu_keeps_to_its_limits(faiss_gpu, monkeypatch):
    def of(count):
        return torch.ones(count, 1024).as_subclass(OnGpu)

    big = build_index(of(14_000), "faiss-gpu")  # 55 MiB of the 100 that are free
    assert faiss_gpu.calls[0] == "index of 1024 in float16"
    with pytest.raises(ValueError, match="at most 2048, got 2049"):
        big.search(of(1), 2049)
    monkeypatch.setattr(FakeIndex, "failure", "StandardGpuResources: alloc fail type FlatData")
    with pytest.raises(torch.OutOfMemoryError, match="alloc fail"):
        big.search(of(1), 1)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (65 << 20, 200 << 20))
    with pytest.raises(SettingInvalid, match="take 27 MiB in float16, and 65 MiB are free"):
        build_index(of(14_000), "faiss-gpu")


def test_a_gpus_search_depends_on_the_number_of_prototypes(faiss_gpu, monkeypatch):
    monkeypatch.setattr(knn, "MANY_PROTOTYPES", 300)
    few, many = (torch.ones(n, 4).as_subclass(OnGpu) for n in (299, 300))
    assert build_index(few).name == "torch"
    assert build_index(many).name == "faiss-gpu"
    monkeypatch.delattr(sys.modules["faiss"], "GpuIndexFlatIP")
    assert build_index(many).name == "torch"
    with pytest.raises(SettingInvalid, match="missing: install the extra gpu"):
        build_index(many, "faiss-gpu")


def test_faiss_on_a_gpu_is_refused_without_one():
    with pytest.raises(SettingInvalid, match="expected prototypes on a CUDA device"):
        FaissGpuIndex(torch.ones(2, 3))
