import json
import logging

import pytest
import torch

from extract.runtime.choose import Runtime, choose_encoder
from tests.extract.runtime.times import times


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


@pytest.mark.slow
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
