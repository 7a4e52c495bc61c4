"""A trunk made ready for a few batch sizes answers as it did before."""

import gc
import logging
import sys
import weakref
from contextlib import contextmanager, nullcontext

import pytest
import torch
from torch.nn import functional as F

from extract.encoders.swin import kernels, token_layout
from extract.encoders.swin.window_boxes import box_kinds
from extract.encoders.torch_encoder import TorchEncoder
from extract.runtime import compiled, precision
from extract.runtime.compiled import FixedBatches, cut_batch, prepare
from extract.runtime.precision import PRECISIONS
from tests.extract.conftest import TINY_SWIN


@pytest.mark.parametrize("sizes", [(1,), (1, 4, 16, 64), (1, 2), (1, 5, 7)])
@pytest.mark.parametrize("count", [*range(1, 40), 63, 64, 65, 100, 129])
def test_every_window_has_a_place_and_padding_adds_at_most_a_quarter(count, sizes):
    batches = list(cut_batch(count, sizes))
    assert sum(windows for windows, _ in batches) == count
    assert all(windows <= size for windows, size in batches)
    assert sum(size for _, size in batches) <= count + max(1, count // 4)


def test_a_batch_goes_into_the_next_size_or_is_split():
    sizes = (1, 4, 16, 64)
    assert list(cut_batch(3, sizes)) == [(3, 4)]
    assert list(cut_batch(13, sizes)) == [(13, 16)]
    assert list(cut_batch(33, sizes)) == [(16, 16), (16, 16), (1, 1)]
    assert list(cut_batch(52, sizes)) == [(52, 64)]
    assert list(cut_batch(17, sizes)) == [(16, 16), (1, 1)]
    assert list(cut_batch(130, sizes)) == [(64, 64), (64, 64), (1, 1), (1, 1)]


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
        ({"precision": "fp4"}, "known: fp32, bf16, fp16, fp8"),
        ({"precision": "fp16"}, "gains nothing on a CPU"),
        ({"execution": "graph"}, "CUDA graphs need a CUDA device"),
        ({"execution": "kernels"}, "Triton's kernels need a CUDA device"),
        ({"execution": "faster"}, "known: eager"),
    ],
)
def test_what_cannot_be_had_is_refused(tiny_encoder, options, message):
    with pytest.raises(ValueError, match=message):
        prepare(tiny_encoder, **options)


@pytest.fixture
def gpu(monkeypatch):
    """A machine whose device is taken for one with kernels and graphs."""
    monkeypatch.setattr(compiled, "_is_gpu", lambda device: True)


@pytest.fixture
def plain_kernels(monkeypatch, gpu):
    """What the kernels compute, in torch's operators."""

    def norm_in_place(rows, norm, later):
        normed = norm(rows)
        rows += later
        return normed

    def gather_norm(rows, index, padding, norm, later):
        kept = rows[index]
        normed = norm_in_place(kept, norm, later)
        return kept, normed if padding is None else normed.masked_fill(padding, 0.0)

    def box_attention(mixed, tiles, biases, heads, longest):
        out, q_k_v = (
            mixed.new_empty(len(mixed), len(mixed[0]) // 3),
            mixed.unflatten(1, (3, heads, -1)),
        )
        for first, length, query, start in tiles.tolist():
            if query == 0:
                q, k, v = q_k_v[first : first + length].permute(1, 2, 0, 3)
                keys = token_layout.padded(length)
                begin = start * token_layout.SIMD_WIDTH * heads
                bias = biases[begin : begin + heads * length * keys].view(heads, length, keys)
                seen = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[..., :length])
                out[first : first + length] = seen.transpose(0, 1).flatten(1)
        return out

    for kernel in (gather_norm, norm_in_place, box_attention):
        monkeypatch.setattr(kernels, kernel.__name__, kernel)


@pytest.mark.usefixtures("plain_kernels")
def test_a_trunk_in_kernels_is_the_trunk_and_shares_its_weights(tiny_encoder, windows, caplog):
    expected = tiny_encoder.encode(windows)
    ready = prepare(tiny_encoder, execution="kernels")
    assert not caplog.records
    assert ready.run is not ready.trunk
    torch.testing.assert_close(ready.encode(windows), expected, atol=1e-5, rtol=0)
    assert {p.data_ptr() for p in ready.run.parameters()} == {
        p.data_ptr() for p in ready.trunk.parameters()
    }


@pytest.mark.usefixtures("plain_kernels")
def test_a_graph_is_of_a_trunk_in_kernels_where_both_are_asked_for(
    tiny_encoder, windows, captured, monkeypatch
):
    launched = []
    plain = kernels.box_attention
    monkeypatch.setattr(
        kernels, "box_attention", lambda *a: launched.append(len(a[0])) or plain(*a)
    )
    expected = tiny_encoder.encode(windows)
    ready = prepare(tiny_encoder, execution="kernels-graph")
    assert len(captured) == 2
    launched.clear()
    torch.testing.assert_close(ready.encode(windows), expected, atol=1e-5, rtol=0)
    assert len(launched) == 4  # three windows, not captured: once for each block


@pytest.mark.gpu
@pytest.mark.parametrize(
    "execution", ["kernels", "compiled", "graph", "kernels-graph", "compiled-graph"]
)
@pytest.mark.parametrize("kind", sorted({*PRECISIONS} - {"fp8"}))
def test_every_execution_mode_gives_the_features_of_the_cpu(
    tiny_contract, windows, execution, kind
):
    encoder = TorchEncoder("tiny", TINY_SWIN, tiny_contract)
    expected = encoder.encode(windows)
    ready = prepare(encoder.to("cuda"), precision=kind, execution=execution, batch_sizes=(1, 2))
    assert ready.run is not ready.trunk
    assert getattr(ready.run, "fallback", None) is None
    for _ in range(2):  # a graph's second answer does not write over the first
        found = ready.encode(windows).cpu()
        assert precision.least_cosine(found, expected) >= 0.999


class Captured:
    """What stands for a CUDA graph: a replay leaves the output of the capture."""

    def __init__(self):
        self.options = {}

    def replay(self):
        pass


@pytest.fixture
def captured(monkeypatch):
    """The graphs that were captured, in order, on a machine without a device for them."""
    graphs = []

    @contextmanager
    def capture(graph, **options):
        graph.options = options
        graphs.append(graph)
        yield

    class Stream(nullcontext):
        def wait_stream(self, other):
            pass

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: stream)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Captured)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", object)
    return graphs


def test_a_graph_is_captured_beside_the_work_of_other_threads(captured):
    """CUDA's default refuses calls of every thread of the process while one captures."""
    compiled._Graph(lambda pixels: pixels, torch.zeros(1), pool=None)
    assert [graph.options["capture_error_mode"] for graph in captured] == ["thread_local"]


def test_a_graph_holds_what_it_reads(captured):
    """Its own memory it keeps itself; that of the layouts and biases of its trunk it does not."""
    trunk = Mean()
    held = weakref.ref(trunk)
    graph = compiled._Graph(trunk, torch.zeros(1, 8), pool=None)
    del trunk
    gc.collect()
    assert held() is not None
    assert graph is not None


def test_graphs_are_of_one_and_two_windows_and_share_memory(captured):
    trunk = Mean()
    batches = FixedBatches(trunk, (3, 2, 4, 4), execution="graph")
    assert [len(graph.options) for graph in captured] == [2, 2]
    assert captured[0].options["pool"] is captured[1].options["pool"] is not None
    assert set(trunk.sizes) == {1, 2}
    assert batches.fallback is None


@pytest.mark.parametrize("count", [3, 5, 17])
def test_a_larger_batch_is_neither_cut_nor_padded_for_graphs(captured, count):
    trunk = Mean()
    batches = FixedBatches(trunk, (3, 2, 4, 4), execution="graph")
    trunk.sizes.clear()
    pixels = torch.randn(count, 3, 2, 4, 4)
    assert torch.equal(batches(pixels), pixels.flatten(1)[:, :5])
    assert trunk.sizes == [count]


@pytest.mark.usefixtures("untraced")
def test_of_a_compiled_trunk_the_small_sizes_are_captured(captured, monkeypatch):
    made = []
    monkeypatch.setattr(torch, "compile", lambda run, **_: made.append(1) or run)
    FixedBatches(Mean(), (3, 2, 4, 4), execution="compiled-graph")
    assert len(made) == len({*compiled.COMPILED_SIZES, *compiled.GRAPH_SIZES}) == 5
    assert len(captured) == 2


def test_position_biases_are_laid_down_once_for_all_sizes(tiny_encoder):
    trunk = tiny_encoder.trunk
    kept = []
    for size in (1, 2, 4):
        box_kinds.cache_clear()  # as where many sizes were seen between
        fixed = compiled._fixed(trunk, (size, 3, *tiny_encoder.contract.window_shape))
        kept.append({n: t.data_ptr() for n, t in fixed.named_buffers() if "biases" in n})
    assert len(kept[0]) == 4
    assert kept[0] == kept[1] == kept[2]


@pytest.mark.usefixtures("gpu")
def test_without_triton_the_trunk_runs_in_operators_and_one_warning_says_so(
    tiny_encoder, windows, monkeypatch, caplog
):
    monkeypatch.setitem(sys.modules, "extract.encoders.swin.triton_kernels", None)
    monkeypatch.setitem(sys.modules, "triton", None)
    expected = tiny_encoder.encode(windows)
    with caplog.at_level(logging.WARNING):
        ready = prepare(tiny_encoder, execution="kernels")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "not in kernels" in caplog.text
    assert torch.equal(ready.encode(windows), expected)


@pytest.mark.usefixtures("gpu")
def test_a_kernel_that_does_not_compile_is_not_used(tiny_encoder, windows, monkeypatch, caplog):
    class Refused(Exception):
        """As Triton's own, which are no RuntimeErrors."""

    def launch(*_):
        raise Refused("at 21:11:\n    x = 1\nout of resource: shared memory")

    monkeypatch.setattr(kernels, "gather_norm", launch)
    monkeypatch.setattr(compiled, "launch_errors", lambda: (Refused,))
    expected = tiny_encoder.encode(windows)
    ready = prepare(tiny_encoder, execution="kernels")
    assert caplog.text.count("out of resource: shared memory") == 1
    assert torch.equal(ready.encode(windows), expected)


@pytest.mark.usefixtures("plain_kernels")
def test_kernels_that_compute_something_else_are_not_used(
    tiny_encoder, windows, monkeypatch, caplog
):
    monkeypatch.setattr(kernels, "box_attention", lambda mixed, *_: mixed[:, : len(mixed[0]) // 3])
    expected = tiny_encoder.encode(windows)
    ready = prepare(tiny_encoder, execution="kernels")
    assert "differ" in caplog.text
    assert torch.equal(ready.encode(windows), expected)


def test_a_network_without_kernels_runs_as_it_is(caplog):
    trunk = Mean()
    assert compiled.in_kernels(trunk, (3, 2, 4, 4)) is trunk
    assert "a video Swin, which this network is not" in caplog.text


def test_triton_says_what_it_cannot_do_in_errors_of_its_own():
    triton = pytest.importorskip("triton")
    from triton.runtime.errors import OutOfResources

    assert triton.__version__
    assert issubclass(OutOfResources, kernels.launch_errors())
    assert not issubclass(OutOfResources, RuntimeError)
