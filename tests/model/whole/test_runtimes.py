"""Whatever runs the encoder, a bundle answers the same, to rounding."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from extract.errors import RuntimeUnavailable
from extract.features.extractor import Extractor
from extract.runtime.choose import Runtime
from extract.runtime.onnx_encoder import OnnxEncoder
from model.predict.predictor import Predictor, PredictRequest
from tests.support.factories import make_bundle
from weights.bundle import ONNX_FILE, load_bundle
from weights.errors import BundleError

SHIPPED = Path(__file__).parents[3] / "weights" / "tabletop"


def moving_bars(contract, frames):
    rows, columns = np.mgrid[: contract.crop_height, : contract.crop_width]
    shapes = [(rows * 3 + columns * 2 + 5 * frame) % 256 for frame in range(frames)]
    return np.repeat(np.stack(shapes)[..., None], 3, axis=3).astype(np.uint8)


def numbers(answer):
    """Every number of an answer, and everything else beside them, in order."""
    if isinstance(answer, dict):
        return [pair for key in sorted(answer, key=str) for pair in numbers(answer[key])]
    if isinstance(answer, list | tuple):
        return [pair for part in answer for pair in numbers(part)]
    return [answer]


@pytest.mark.slow
def test_the_shipped_bundle_answers_with_onnx_as_with_torch():
    bundle, answers = load_bundle(SHIPPED), []
    for name in ("torch", "onnx"):
        predictor = Predictor(bundle, runtime=Runtime(name))
        assert predictor.runtime.name == name
        frames = moving_bars(predictor.encoder.contract, 240)
        track = Extractor(predictor.encoder).from_frames([frames], video_id="bars")
        request = PredictRequest(track, frozenset(predictor.tasks))
        answers.append(numbers(asdict(predictor.predict([request])[0])))
    expected, found = answers
    assert sum(isinstance(value, float) for value in expected) > 100
    assert found == pytest.approx(expected, abs=1e-5)


def test_a_bundle_is_served_by_torch_unless_something_else_is_asked_for():
    predictor = Predictor(make_bundle())
    assert not isinstance(predictor.encoder, OnnxEncoder)
    assert predictor.runtime.name == "torch"


def test_a_graph_that_is_not_the_encoders_makes_the_bundle_invalid():
    bundle = replace(make_bundle(), encoder_onnx=b"another graph")
    with pytest.raises(BundleError) as caught:
        Predictor(bundle, runtime=Runtime("auto"))
    assert caught.value.file == ONNX_FILE


def test_onnx_without_a_graph_is_refused():
    bundle = replace(make_bundle(), encoder_onnx=b"")
    assert Predictor(bundle, runtime=Runtime("auto")).runtime.name == "torch"
    with pytest.raises(RuntimeUnavailable, match="no ONNX graph"):
        Predictor(bundle, runtime=Runtime("onnx"))
