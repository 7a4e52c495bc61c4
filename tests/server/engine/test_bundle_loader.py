"""What runs the encoder is a setting of the server."""

from dataclasses import replace

import pytest

from extract.errors import RuntimeUnavailable
from extract.runtime.onnx_encoder import OnnxEncoder
from server.engine.bundle_loader import load_predictor
from tests.factories import make_bundle
from tests.server.fakes import make_settings
from weights.bundle import save_bundle


def test_the_setting_decides_and_auto_remembers_in_its_folder(tmp_path):
    save_bundle(make_bundle(), tmp_path / "bundle")

    def load(runtime):
        return load_predictor(
            make_settings(bundle=tmp_path / "bundle", runtime=runtime, cache=tmp_path / "cache")
        )

    assert isinstance(load("onnx").encoder, OnnxEncoder)
    assert not isinstance(load("torch").encoder, OnnxEncoder)
    assert not (tmp_path / "cache").exists()
    assert load("auto").runtime.reason.startswith("measured now")
    assert load("auto").runtime.reason.startswith("measured before")


def test_a_runtime_that_cannot_be_had_keeps_the_server_from_starting(tmp_path):
    save_bundle(replace(make_bundle(), encoder_onnx=b""), tmp_path / "bundle")
    with pytest.raises(RuntimeUnavailable, match="set the runtime to torch"):
        load_predictor(make_settings(bundle=tmp_path / "bundle", runtime="onnx"))


def test_a_reduced_precision_is_torchs_and_makes_features_of_its_own(tmp_path):
    save_bundle(make_bundle(), tmp_path / "bundle")

    def load(**values):
        settings = make_settings(bundle=tmp_path / "bundle", cache=tmp_path / "cache", **values)
        return load_predictor(settings)

    reduced, whole = load(precision="bf16"), load(runtime="torch")
    assert reduced.runtime.name == "torch"
    assert "bf16" in reduced.runtime.reason
    assert reduced.encoder.fingerprint != whole.encoder.fingerprint
    with pytest.raises(RuntimeUnavailable, match="fp32"):
        load(precision="bf16", runtime="onnx")
    with pytest.raises(RuntimeUnavailable, match="CUDA"):
        load(execution="graph")
