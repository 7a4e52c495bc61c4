"""The faster runtime is chosen, for a reason that can be read, and remembered."""

import time
from dataclasses import replace

import pytest
import torch

from extract.errors import RuntimeUnavailable
from extract.runtime import choose
from extract.runtime.choose import (
    BATCHES,
    MAX_ROUNDS,
    Runtime,
    choose_encoder,
    measure,
    times_faster,
)
from extract.runtime.onnx_encoder import OnnxEncoder
from tests.extract.runtime.times import times


def test_torch_runs_where_nothing_is_asked_for(tiny_encoder, graph, measured):
    asked = measured(times(1e6))
    chosen, choice = choose_encoder(tiny_encoder, graph, Runtime())
    assert chosen is tiny_encoder
    assert (choice.name, choice.reason, asked) == ("torch", "as set", [])


def test_onnx_runs_where_it_is_asked_for_however_slow(tiny_encoder, graph, measured):
    asked = measured(times(1e-6))
    chosen, choice = choose_encoder(tiny_encoder, graph, Runtime("onnx"))
    assert isinstance(chosen, OnnxEncoder)
    assert (choice.name, choice.provider, asked) == ("onnx", "cpu", [])


@pytest.mark.parametrize(
    ("torch_ms", "name"), [(5, "torch"), (10, "torch"), (10.9, "torch"), (11.1, "onnx")]
)
def test_onnx_has_to_win_by_a_margin(tiny_encoder, graph, measured, auto, torch_ms, name):
    measured(times(torch_ms))
    chosen, choice = choose_encoder(tiny_encoder, graph, auto)
    assert choice.name == name
    assert isinstance(chosen, OnnxEncoder) == (name == "onnx")
    assert f"{torch_ms / 10:.2f} times as fast" in choice.reason
    assert choice.times_ms == times(torch_ms)


def test_no_batch_size_outweighs_another():
    mixed = {"1": {"torch": 2.0, "onnx": 1.0}, "14": {"torch": 100.0, "onnx": 400.0}}
    swapped = {b: {"torch": row["onnx"], "onnx": row["torch"]} for b, row in mixed.items()}
    assert times_faster(mixed) == pytest.approx(0.5**0.5)
    assert times_faster(mixed) * times_faster(swapped) == pytest.approx(1)


def test_without_a_graph_torch_runs_and_onnx_cannot(tiny_encoder, auto):
    chosen, choice = choose_encoder(tiny_encoder, b"", auto)
    assert chosen is tiny_encoder
    assert "no ONNX graph" in choice.reason
    with pytest.raises(RuntimeUnavailable, match=r"python -m extract\.runtime\.onnx_export"):
        choose_encoder(tiny_encoder, b"", Runtime("onnx"))


def test_a_provider_that_is_not_there_leaves_torch_unless_it_was_demanded(tiny_encoder, graph):
    chosen, choice = choose_encoder(tiny_encoder, graph, Runtime("auto", provider="fpga"))
    assert chosen is tiny_encoder
    assert "no fpga provider" in choice.reason
    with pytest.raises(RuntimeUnavailable, match="no fpga provider"):
        choose_encoder(tiny_encoder, graph, Runtime("onnx", provider="fpga"))


def test_features_that_differ_are_not_raced(tiny_encoder, graph, measured, auto, monkeypatch):
    asked, encode = measured(times(20)), OnnxEncoder.encode
    monkeypatch.setattr(OnnxEncoder, "encode", lambda self, windows: encode(self, windows) + 0.001)
    chosen, choice = choose_encoder(tiny_encoder, graph, auto)
    assert chosen is tiny_encoder
    assert "features differ by 1" in choice.reason
    assert asked == []
    assert not auto.cache.exists()


def test_a_graph_of_another_encoder_is_refused_whatever_was_remembered(tiny_encoder, auto):
    with pytest.raises(ValueError, match="graph"):
        choose_encoder(tiny_encoder, b"no graph", auto)


def test_both_are_really_measured_in_turn(tiny_encoder, graph):
    ways = {"torch": tiny_encoder, "onnx": OnnxEncoder(tiny_encoder, graph)}
    found = measure(ways)
    assert set(found) == {str(batch) for batch in BATCHES}
    assert all(ms > 0 for row in found.values() for ms in row.values())


class Slow:
    """A network of which one window takes some seconds."""

    def __init__(self, contract, seconds):
        self.contract, self.seconds, self.batches = contract, seconds, []

    def encode(self, windows):
        self.batches.append(len(windows))
        time.sleep(self.seconds * len(windows))
        return torch.zeros(len(windows), 1)


def test_a_slow_network_is_measured_on_one_window_only(tiny_contract):
    ways = {name: Slow(tiny_contract, 0.02) for name in ("torch", "onnx")}
    found = measure(ways, budget_s=0.03)
    assert set(found) == {"1"}
    assert ways["onnx"].batches == [1]


def test_a_fast_network_is_measured_as_often_as_is_of_use(tiny_contract):
    ways = {name: Slow(tiny_contract, 0.0) for name in ("torch", "onnx")}
    measure(ways, budget_s=60)
    assert ways["torch"].batches == [batch for batch in BATCHES for _ in range(MAX_ROUNDS)]


@pytest.fixture
def with_executions(monkeypatch):
    """A machine where kernels and graphs could run; the encoders for which they were prepared."""
    prepared = []

    def prepare(encoder, *, precision, execution):
        if execution != "eager":
            prepared.append(encoder)
            encoder.run = lambda pixels: encoder.trunk(pixels)
        return encoder

    monkeypatch.setattr(choose, "_has_executions", lambda encoder: True)
    monkeypatch.setattr(choose, "prepare", prepare)
    return prepared


@pytest.mark.parametrize(("eager_ms", "is_faster"), [(9, False), (10.9, False), (11.1, True)])
def test_kernels_and_graphs_have_to_win_by_a_margin(
    tiny_encoder, measured, with_executions, eager_ms, is_faster, tmp_path
):
    found = {batch: {"eager": eager_ms, choose.FASTER: 10.0} for batch in ("1", "14")}
    asked = measured(found)
    runtime = Runtime("auto", cache=tmp_path / "cache", execution="auto")
    for times_asked in (1, 1):  # the second time from the cache
        chosen, choice = choose_encoder(tiny_encoder, b"", runtime)
        assert (chosen.run is not chosen.trunk) == is_faster
        assert f"{eager_ms / 10:.2f} times as fast" in choice.reason
        assert choice.times_ms == found
        assert asked == [{"eager", choose.FASTER}] * times_asked
    assert len(with_executions) == 1 + is_faster  # what is known to be slower is not made again
    assert tiny_encoder.run is tiny_encoder.trunk


def test_where_there_are_no_kernels_auto_is_eager(tiny_encoder, graph, measured, auto):
    asked = measured(times(20))
    chosen, choice = choose_encoder(tiny_encoder, graph, replace(auto, execution="auto"))
    assert isinstance(chosen, OnnxEncoder)  # and other runtimes may win
    assert asked == [{"torch", "onnx"}]
    reduced, choice = choose_encoder(tiny_encoder, b"", Runtime(precision="bf16", execution="auto"))
    assert choice.reason == "only torch runs bf16, eager"
    assert reduced.run is reduced.trunk
