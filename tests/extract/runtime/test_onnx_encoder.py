"""ONNX Runtime behind the call of a `VideoEncoder`."""

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from extract.encoders.load import encoder_from_spec
from extract.encoders.torch_encoder import TorchEncoder
from extract.errors import RuntimeUnavailable
from extract.runtime.onnx_encoder import WINDOWS_TOGETHER, OnnxEncoder
from extract.runtime.onnx_export import export_encoder, made_up_windows
from tests.support.waiting import PATIENCE_S
from weights.bundle import load_bundle

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "weights" / "tabletop"


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def graph(tiny_encoder):
    return export_encoder(tiny_encoder)


@pytest.fixture(scope="module")
def shipped():
    bundle = load_bundle(SHIPPED)
    encoder = encoder_from_spec(bundle.manifest.encoder, bundle.encoder)
    return encoder, OnnxEncoder(encoder, bundle.encoder_onnx)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 3, 14])
@pytest.mark.parametrize("count", [1, 3])
def test_the_shipped_encoder_gives_torchs_features(shipped, batch, count, threads):
    encoder, ours = shipped
    windows = made_up_windows(encoder.contract, batch)
    threads(1)
    expected = encoder.encode(windows)
    threads(count)
    found = ours.encode(windows)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert torch.cosine_similarity(found, expected).min() >= 0.99999


def test_it_stands_for_the_torch_encoder(tiny_encoder, graph):
    ours = OnnxEncoder(tiny_encoder, graph)
    for fact in ("name", "dim", "contract", "fingerprint"):
        assert getattr(ours, fact) == getattr(tiny_encoder, fact)


def test_its_weights_are_its_own_once_it_is_made(tiny_encoder, graph):
    ours = OnnxEncoder(tiny_encoder, graph)
    windows = made_up_windows(tiny_encoder.contract, 2)
    before = ours.encode(windows)
    with torch.no_grad():  # as if their memory were given to something else
        for tensor in tiny_encoder.state_dict().values():
            tensor.zero_()
    assert torch.equal(ours.encode(windows), before)


def test_a_window_has_the_same_features_in_any_company(tiny_encoder, graph, threads):
    ours = OnnxEncoder(tiny_encoder, graph)
    windows = made_up_windows(tiny_encoder.contract, 9)
    alone = torch.cat([ours.encode(window) for window in windows.split(1)])
    for count in (1, 2, 4, 16):
        threads(count)
        torch.testing.assert_close(ours.encode(windows), alone, atol=1e-5, rtol=0)


def test_windows_spread_over_as_many_threads_as_torch_has_and_no_more(
    tiny_encoder, graph, threads, monkeypatch
):
    ours = OnnxEncoder(tiny_encoder, graph)
    lock, active, seen = threading.Lock(), [0], []
    meet = threading.Barrier(3, timeout=PATIENCE_S)

    def run(part):
        with lock:
            active[0] += 1
            seen.append((active[0], len(part)))
        if len(seen) <= 3:  # all three have to be here at once
            meet.wait()
        with lock:
            active[0] -= 1
        return part.reshape(len(part), -1)[:, :1].astype(np.float32)

    monkeypatch.setattr(ours, "_run", run)
    windows = made_up_windows(tiny_encoder.contract, 14)
    threads(3)
    found = ours.encode(windows)
    assert torch.equal(found[:, 0], windows.flatten(1)[:, 0].float())  # in order
    assert max(count for count, _ in seen) == 3
    assert max(size for _, size in seen) == WINDOWS_TOGETHER


@pytest.mark.slow
@pytest.mark.parametrize(
    "windows",
    [
        torch.zeros(1, 15, 48, 64, 3, dtype=torch.uint8),
        torch.zeros(1, 16, 48, 65, 3, dtype=torch.uint8),
        torch.zeros(1, 16, 48, 64, 1, dtype=torch.uint8),
        torch.zeros(1, 16, 48, 64, 3),
        torch.zeros(16, 48, 64, 3, dtype=torch.uint8),
    ],
    ids=lambda w: f"{tuple(w.shape)} {w.dtype}",
)
def test_windows_of_another_form_are_refused_before_they_run(tiny_encoder, graph, windows):
    with pytest.raises(ValueError, match=r"expected \(B, 16"):
        OnnxEncoder(tiny_encoder, graph).encode(windows)


def test_a_provider_that_is_not_there_is_named_with_those_that_are(tiny_encoder, graph):
    with pytest.raises(RuntimeUnavailable, match="no fpga provider, it has .*cpu"):
        OnnxEncoder(tiny_encoder, graph, provider="fpga")


def test_a_failure_inside_the_runtime_is_ours(tiny_encoder, graph):
    with pytest.raises(RuntimeUnavailable, match="cpu provider failed on 2 windows"):
        OnnxEncoder(tiny_encoder, graph)._run(np.zeros((2, 1, 1, 1, 3), np.uint8))


def test_a_graph_of_another_encoder_is_refused(tiny_encoder, graph):
    wider = replace(tiny_encoder.config, width=12)
    with pytest.raises(ValueError, match=r"expected \(.*, the encoder has \("):
        OnnxEncoder(TorchEncoder("wider", wider, tiny_encoder.contract), graph)
    larger = replace(tiny_encoder.contract, crop_width=72)
    with pytest.raises(ValueError, match="makes"):
        OnnxEncoder(TorchEncoder("larger", tiny_encoder.config, larger), graph)


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["noise", "cut", "unknown operator"])
def test_what_is_no_graph_is_refused(tiny_encoder, graph, damage):
    data = {"noise": b"\xff" * 100, "cut": graph[:-100]}.get(damage)
    if data is None:
        model = onnx.load_model_from_string(graph)
        model.graph.node[5].op_type = "Surprise"
        data = model.SerializeToString()
    with pytest.raises(ValueError, match="graph"):
        OnnxEncoder(tiny_encoder, data)


def test_a_graph_that_asks_for_another_file_is_refused(tiny_encoder, graph, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(4 * 12))
    model = onnx.load_model_from_string(graph)
    tensor = next(t for t in model.graph.initializer if t.name == "norm.weight")
    tensor.name = "stolen"
    tensor.external_data[0].value = str(secret)
    with pytest.raises(ValueError, match="stolen: .* the encoder has none"):
        OnnxEncoder(tiny_encoder, model.SerializeToString())


def test_a_graph_with_graphs_inside_is_refused(tiny_encoder, graph):
    model = onnx.load_model_from_string(graph)
    inner = helper.make_graph(
        [], "inner", [], [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])]
    )
    model.graph.node.append(
        helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)
    )
    with pytest.raises(ValueError, match="graphs inside"):
        OnnxEncoder(tiny_encoder, model.SerializeToString())


@pytest.mark.slow
def test_nothing_is_written_or_reported_beside_the_features(tmp_path):
    code = (
        "import extract.runtime.onnx_encoder as e; "
        "from tests.support.factories import make_bundle; "
        "from extract.encoders.load import encoder_from_spec; "
        "b = make_bundle(); "
        "e.OnnxEncoder(encoder_from_spec(b.manifest.encoder, b.encoder), b.encoder_onnx)"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, env=environment)
    assert list(tmp_path.iterdir()) == []
