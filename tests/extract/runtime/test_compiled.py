"""A trunk made ready for a few batch sizes answers as it did before."""

import logging
from contextlib import contextmanager, nullcontext

import pytest
import torch

from extract.encoders.torch_encoder import TorchEncoder
from extract.runtime import compiled, precision
from extract.runtime.compiled import FixedBatches, cut_batch, prepare
from extract.runtime.precision import PRECISIONS
from tests.extract.conftest import TINY_SWIN


@pytest.mark.parametrize("sizes", [(1,), (1, 4, 16, 64), (1, 2), (1, 5, 7)])
@pytest.mark.parametrize("count", [*range(1, 40), 63, 64, 65, 100, 129])
def test_every_window_has_a_place_and_padding_never_doubles_the_work(count, sizes):
    batches = list(cut_batch(count, sizes))
    assert sum(windows for windows, _ in batches) == count
    assert all(windows <= size for windows, size in batches)
    assert sum(size for _, size in batches) <= 2 * count


def test_a_batch_goes_into_the_next_size_or_is_split():
    sizes = (1, 4, 16, 64)
    assert list(cut_batch(3, sizes)) == [(3, 4)]
    assert list(cut_batch(33, sizes)) == [(33, 64)]
    assert list(cut_batch(17, sizes)) == [(16, 16), (1, 1)]
    assert list(cut_batch(130, sizes)) == [(64, 64), (64, 64), (2, 4)]


class Mean(torch.nn.Module):
    """Notes the sizes of its batches."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.sizes = []

    def forward(self, pixels):
        self.sizes.append(len(pixels))
        return pixels.flatten(1)[:, :5] * self.weight


@pytest.fixture
def untraced(monkeypatch):
    """The trunk itself instead of its traced twin, so that its calls are seen."""
    monkeypatch.setattr(compiled, "_traced", lambda trunk, shape: trunk)
    monkeypatch.setattr(torch, "compile", lambda run, **_: run)


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("count", [1, 2, 3, 5, 9, 20])
@torch.inference_mode()
def test_padding_is_dropped_and_order_kept(count):
    trunk = Mean()
    batches = FixedBatches(trunk, (3, 2, 4, 4), execution="compiled", sizes=(4,))
    trunk.sizes.clear()
    pixels = torch.randn(count, 3, 2, 4, 4)
    assert torch.equal(batches(pixels), pixels.flatten(1)[:, :5])
    assert set(trunk.sizes) <= {1, 4}


def test_without_a_compiler_the_trunk_runs_eagerly_and_says_why(
    tiny_encoder, windows, monkeypatch, caplog
):
    expected = tiny_encoder.encode(windows)

    def no_compiler(run, **_):
        raise RuntimeError("no working C++ compiler")

    monkeypatch.setattr(compiled, "_traced", lambda trunk, shape: trunk)
    monkeypatch.setattr(torch, "compile", no_compiler)
    with caplog.at_level(logging.WARNING):
        ready = prepare(tiny_encoder, execution="compiled", batch_sizes=(2,))
    assert "no working C++ compiler" in caplog.text
    assert torch.equal(ready.encode(windows), expected)


@pytest.mark.slow
@pytest.mark.usefixtures("untraced")
def test_a_compiled_trunk_that_computes_something_else_is_not_used(
    tiny_encoder, windows, monkeypatch, caplog
):
    expected = tiny_encoder.encode(windows)
    monkeypatch.setattr(torch, "compile", lambda run, **_: lambda x: run(x).flip(1))
    assert torch.equal(prepare(tiny_encoder, execution="compiled").encode(windows), expected)
    assert "differ" in caplog.text


@pytest.mark.slow
def test_a_compiled_trunk_is_the_same_and_compiles_once_a_size(tiny_encoder, windows, monkeypatch):
    compilations = []

    def backend(graph, inputs):
        compilations.append(len(inputs))
        return graph.forward

    expected = tiny_encoder.encode(windows)
    real = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda run, **options: real(run, backend=backend, **options)
    )
    ready = prepare(tiny_encoder, execution="compiled", batch_sizes=(1, 2))
    for _ in range(2):
        torch.testing.assert_close(ready.encode(windows), expected, atol=1e-5, rtol=0)
    assert len(compilations) == 2


def test_new_weights_end_what_was_made_of_the_old_ones(tiny_encoder, windows):
    tiny_encoder.run = lambda pixels: torch.zeros(len(pixels), tiny_encoder.dim)
    assert not tiny_encoder.encode(windows).any()
    tiny_encoder.refresh_fingerprint()
    assert tiny_encoder.encode(windows).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "fp8"}, "known: fp32, bf16, fp16"),
        ({"precision": "fp16"}, "gains nothing on a CPU"),
        ({"execution": "graph"}, "need a CUDA device"),
        ({"execution": "faster"}, "known: eager"),
    ],
)
def test_what_cannot_be_had_is_refused(tiny_encoder, options, message):
    with pytest.raises(ValueError, match=message):
        prepare(tiny_encoder, **options)


@pytest.mark.gpu
@pytest.mark.parametrize("execution", ["compiled", "graph", "compiled-graph"])
@pytest.mark.parametrize("kind", PRECISIONS)
def test_every_execution_mode_gives_the_features_of_the_cpu(
    tiny_contract, windows, execution, kind
):
    encoder = TorchEncoder("tiny", TINY_SWIN, tiny_contract)
    expected = encoder.encode(windows)
    ready = prepare(encoder.to("cuda"), precision=kind, execution=execution, batch_sizes=(1, 2))
    assert isinstance(ready.run, FixedBatches)
    assert ready.run.fallback is None
    for _ in range(2):  # a graph's second answer does not write over the first
        found = ready.encode(windows).cpu()
        assert precision.least_cosine(found, expected) >= 0.999


def test_a_graph_is_captured_beside_the_work_of_other_threads(monkeypatch):
    """CUDA's default refuses calls of every thread of the process while one captures."""
    modes = []

    @contextmanager
    def capture(graph, capture_error_mode="global"):
        modes.append(capture_error_mode)
        yield

    class Stream(nullcontext):
        def wait_stream(self, other):
            pass

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: None)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    compiled._Graph(lambda pixels: pixels, torch.zeros(1))
    assert modes == ["thread_local"]
