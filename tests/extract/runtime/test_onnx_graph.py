"""The graph, written by hand, says what torchvision's network says."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file

from extract.contract import OMNIVORE, TABLETOP
from extract.encoders.preprocess import to_network_input
from extract.encoders.torch_encoder import TorchEncoder
from extract.runtime.onnx_encoder import OnnxEncoder
from extract.runtime.onnx_export import made_up_windows, stored_tensors
from extract.runtime.onnx_graph import bias_rows, swin_graph, takes_bytes
from tests.extract.encoders.swin.test_attention import LARGE, SMALL, both_trunks
from weights.bundle import ENCODER_FILE

# Whole windows, patches or windows that need padding, axes shorter than a window, odd merges.
SIZES = [(16, 112, 112), (16, 64, 64), (31, 113, 95), (7, 60, 90), (12, 28, 250), (1, 96, 96)]


def graph_of(encoder):
    weights = stored_tensors(encoder.state_dict())
    model = swin_graph(encoder.config, encoder.contract, weights, ENCODER_FILE)
    return model.SerializeToString(deterministic=True)


@pytest.fixture(scope="module", params=[LARGE, SMALL], ids=["8x7x7", "4x3x4"])
def trunks(request):
    return request.param, *both_trunks(request.param)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_features_are_torchvisions_at_every_size(trunks, size):
    config, ours, theirs = trunks
    frames, height, width = size
    contract = replace(
        TABLETOP, window_frames=frames, frame_step=1, crop_height=height, crop_width=width
    )
    encoder = TorchEncoder("any", config, contract, ours)
    windows = made_up_windows(contract, 3)
    with torch.inference_mode():
        expected = theirs(to_network_input(windows, contract))
    found = OnnxEncoder(encoder, graph_of(encoder)).encode(windows)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert torch.cosine_similarity(found, expected).min() >= 0.99999


def test_frames_that_are_resized_as_floats_come_in_as_floats(trunks):
    config, ours, theirs = trunks
    contract = replace(OMNIVORE, window_frames=8, short_side=70, crop_height=64, crop_width=64)
    assert not takes_bytes(config, contract)
    encoder = TorchEncoder("any", config, contract, ours)
    windows = torch.randint(256, (2, 8, 90, 160, 3), dtype=torch.uint8)
    with torch.inference_mode():
        expected = theirs(to_network_input(windows, contract))
    found = OnnxEncoder(encoder, graph_of(encoder)).encode(windows)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("window", [(4, 3, 4), (8, 7, 7), (1, 2, 5)])
def test_a_pair_of_places_has_torchvisions_row_of_the_table(window):
    theirs = TorchEncoder("any", replace(SMALL, window=window), TABLETOP).trunk
    index = theirs.get_submodule("features.0.0.attn").relative_position_index
    assert np.array_equal(bias_rows(np.arange(np.prod(window)), window), index)


def test_the_folder_of_a_bundle_is_a_model_that_others_can_open(tiny_encoder, tmp_path):
    save_file(tiny_encoder.state_dict(), tmp_path / ENCODER_FILE)
    path = tmp_path / "encoder.onnx"
    path.write_bytes(graph_of(tiny_encoder))
    onnx.checker.check_model(path, full_check=True)
    windows = made_up_windows(tiny_encoder.contract, 2)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run(["features"], {"windows": windows.numpy()})
    expected = tiny_encoder.encode(windows)
    torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-4, rtol=0)


def test_the_graph_copies_no_weights_and_is_the_same_bytes_again(tiny_encoder):
    graph = graph_of(tiny_encoder)
    assert graph == graph_of(tiny_encoder)
    model = onnx.load_model_from_string(graph)
    floats = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
    inside = [t for t in floats if t.data_location != onnx.TensorProto.EXTERNAL]
    assert sum(np.prod(t.dims) for t in inside) <= 6  # what normalises three channels
    weights = {n for n, t in tiny_encoder.state_dict().items() if t.is_floating_point()}
    assert {t.name for t in floats} - {t.name for t in inside} == weights
