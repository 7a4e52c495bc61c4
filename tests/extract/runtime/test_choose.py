"""The faster runtime is chosen, for a reason that can be read, and remembered."""

import json
import logging
import time

import pytest
import torch

from extract.errors import RuntimeUnavailable
from extract.runtime import choose as runtime
from extract.runtime.choose import (
    BATCHES,
    MAX_ROUNDS,
    Runtime,
    choose_encoder,
    measure,
    times_faster,
)
from extract.runtime.onnx_encoder import OnnxEncoder
from extract.runtime.onnx_export import export_encoder


def times(torch_ms: float, onnx_ms: float = 10.0):
    return {str(batch): {"torch": torch_ms, "onnx": onnx_ms} for batch in BATCHES}


@pytest.fixture
def graph(tiny_encoder):
    return export_encoder(tiny_encoder)


@pytest.fixture
def measured(monkeypatch):
    """Makes measuring say what a test wants; the list counts how often it was asked."""
    asked = []

    def pretend(found):
        def answer(encoders):
            asked.append(set(encoders))
            return found

        monkeypatch.setattr(runtime, "measure", answer)
        return asked

    return pretend


@pytest.fixture
def auto(tmp_path):
    return Runtime("auto", cache=tmp_path / "cache")


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


def test_a_second_start_remembers_and_says_so(tiny_encoder, graph, measured, auto, caplog):
    asked = measured(times(20))
    with caplog.at_level(logging.INFO):
        first = choose_encoder(tiny_encoder, graph, auto)[1]
        second = choose_encoder(tiny_encoder, graph, auto)[1]
    assert len(asked) == 1
    assert first.reason.startswith("measured now")
    assert second.reason.startswith("measured before")
    assert second.times_ms == first.times_ms
    assert "tiny runs in onnx on cpu: measured before" in caplog.text
    (record,) = auto.cache.glob("*.json")
    facts = json.loads(record.read_text())["facts"]
    assert facts["encoder"] == tiny_encoder.fingerprint
    assert set(facts) >= {"device", "threads", "torch", "onnxruntime", "provider"}


def test_another_number_of_threads_is_another_measurement(tiny_encoder, graph, measured, auto):
    asked, before = measured(times(20)), torch.get_num_threads()
    try:
        for threads in (1, 2, 1, 2):
            torch.set_num_threads(threads)
            choose_encoder(tiny_encoder, graph, auto)
    finally:
        torch.set_num_threads(before)
    assert len(asked) == 2


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        lambda record: record | {"times_ms": {}},
        lambda record: record | {"times_ms": {"1": {"torch": 0, "onnx": 1}}},
        lambda record: record | {"times_ms": {"1": "fast"}},
        lambda record: record | {"facts": record["facts"] | {"threads": 99}},
    ],
)
def test_a_damaged_record_costs_a_measurement(tiny_encoder, graph, measured, auto, damage, caplog):
    asked = measured(times(20))
    choose_encoder(tiny_encoder, graph, auto)
    (record,) = auto.cache.iterdir()
    whole = record.read_bytes()
    broken = damage if isinstance(damage, bytes) else json.dumps(damage(json.loads(whole))).encode()
    record.write_bytes(broken)
    assert choose_encoder(tiny_encoder, graph, auto)[1].name == "onnx"
    assert len(asked) == 2
    assert "measured again" in caplog.text
    assert record.read_bytes() == whole


def test_a_cache_that_cannot_be_written_costs_a_measurement(
    tiny_encoder, graph, measured, tmp_path, caplog
):
    asked = measured(times(20))
    (tmp_path / "file").write_text("no folder")
    for _ in range(2):
        setting = Runtime("auto", cache=tmp_path / "file" / "cache")
        assert choose_encoder(tiny_encoder, graph, setting)[1].name == "onnx"
    assert len(asked) == 2
    assert "not kept" in caplog.text


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
