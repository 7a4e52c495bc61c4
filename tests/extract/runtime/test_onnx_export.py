"""encoder.onnx is written only where it says what torch says."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save

from extract.encoders.load import encoder_spec
from extract.runtime import onnx_export
from extract.runtime.onnx_export import export_encoder, main, stored_tensors
from weights.bundle import ONNX_FILE, Bundle, load_bundle, save_bundle
from weights.bundle.manifest import MANIFEST_FILE, Manifest


@pytest.fixture
def folder(tmp_path, tiny_encoder):
    manifest = Manifest("tiny", "1", encoder_spec(tiny_encoder), {}, {}, {}, {})
    bundle = Bundle(manifest, tiny_encoder.state_dict(), {}, {}, {"p": torch.zeros(1)}, card="#\n")
    save_bundle(bundle, tmp_path / "bundle")
    return tmp_path / "bundle"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_command_adds_one_file_and_leaves_the_others(folder):
    before = contents(folder)
    assert main([str(folder)]) == 0
    after = contents(folder)
    assert set(after) - set(before) == {ONNX_FILE}
    assert {n for n in before if before[n] != after[n]} == {MANIFEST_FILE}
    assert load_bundle(folder).encoder_onnx == after[ONNX_FILE]
    assert main([str(folder)]) == 0
    assert contents(folder) == after


def test_a_graph_that_says_something_else_is_not_written(folder, monkeypatch, caplog):
    before, write = contents(folder), onnx_export.swin_graph
    monkeypatch.setattr(
        onnx_export,
        "swin_graph",
        lambda config, contract, *rest: write(
            config, replace(contract, mean=(0.45, 0.45, 0.46)), *rest
        ),
    )
    assert main([str(folder)]) == 1
    assert "differs from torch" in caplog.text
    assert contents(folder) == before


@pytest.mark.parametrize("problem", ["no bundle", "no encoder"])
def test_a_bundle_that_has_nothing_to_export_says_so(folder, tmp_path, problem, caplog):
    if problem == "no encoder":
        save_bundle(replace(load_bundle(folder), encoder={}), folder)
    assert main([str(tmp_path if problem == "no bundle" else folder)]) == 1
    assert "bundle" in caplog.text


def test_weights_of_another_precision_are_refused(tiny_encoder):
    tiny_encoder.trunk.to(torch.bfloat16)
    with pytest.raises(ValueError, match="float32"):
        export_encoder(tiny_encoder)


def test_another_network_is_refused(tiny_encoder):
    class Other:
        kind = "other"

    tiny_encoder.config = Other()
    with pytest.raises(ValueError, match="'tiny' is of kind other"):
        export_encoder(tiny_encoder)


def test_every_tensor_lies_where_the_graph_looks_for_it(tiny_encoder):
    tensors = tiny_encoder.state_dict()
    data, places = save(tensors), stored_tensors(tensors)
    assert set(places) == set(tensors)
    for name, place in places.items():
        found = data[place.offset : place.offset + place.length]
        assert found == tensors[name].numpy().tobytes()
        assert place.shape == tuple(tensors[name].shape)
