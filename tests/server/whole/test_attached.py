"""A bundle of released features is served with the encoder that makes them."""

from dataclasses import replace

import httpx
import pytest

from model.errors import FeatureMismatch
from server.api.app import create_app
from server.engine.bundle_loader import load_predictor
from server.engine.engine import Engine
from tests.extract.support.clips import noisy_frames, write_clip
from tests.server.support.fakes import make_settings
from tests.server.support.in_process import AppTransport, wait_for_ready
from tests.support.factories import TINY, make_bundle
from tests.support.published import fetch_small, use_small
from tests.support.waiting import PATIENCE_S
from weights.bundle import save_bundle
from weights.errors import FetchFailed


@pytest.fixture
def settings(tmp_path, monkeypatch):
    use_small(monkeypatch)
    made = make_bundle(replace(TINY, input_size=48))
    entry = {"kind": "features", "name": "omnivore_video_swinl"}
    made = replace(made, manifest=replace(made.manifest, encoder=entry), encoder={})
    save_bundle(made, tmp_path / "bundle")
    return make_settings(
        bundle=tmp_path / "bundle",
        spool_dir=tmp_path / "spool",
        encoder="omnivore-swinl",
        weights=fetch_small(tmp_path / "weights"),
    )


@pytest.mark.slow
def test_an_answer_names_the_encoder_that_saw_the_clip(settings, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", noisy_frames(34, 64, 48)).read_bytes()
    engine = Engine.from_settings(settings)
    transport = AppTransport(create_app(settings, engine))
    transport.start()
    try:
        with httpx.Client(base_url="http://test", transport=transport, timeout=PATIENCE_S) as http:
            wait_for_ready(engine, http)
            headers = {"content-type": "video/mp4"}
            answer = http.post("/v1/predictions", content=clip, headers=headers)
    finally:
        transport.stop()
    assert answer.status_code == 200, answer.text
    assert answer.json()["features"] == {
        "encoder": "omnivore-swinl", "fps": 30.0, "window": 32, "stride": 16, "count": 2
    }  # fmt: skip
    assert answer.json()["input"]["reader"] == "pyav"


def test_another_encoder_than_the_bundles_features_need_is_refused(settings):
    with pytest.raises(FeatureMismatch, match="omnivore_video_swinl"):
        load_predictor(settings.model_copy(update={"encoder": "slowfast-r101"}))


def test_an_encoder_that_was_not_fetched_is_refused(settings, tmp_path):
    with pytest.raises(FetchFailed, match="python -m weights fetch omnivore-swinl"):
        load_predictor(settings.model_copy(update={"weights": tmp_path / "nowhere"}))
