"""Bundles that hold an encoder of transformers or timm, answering a clip over HTTP."""

import shutil

import httpx
import pytest
import torch

from clients.results.predictions import PredictionResult
from extract.encoders.load import load_named_encoder
from extract.features.extractor import Extractor
from extract.features.track_file import parse_track
from server.api.app import create_app
from server.engine.engine import Engine
from tests.extract.encoders.library import models
from tests.server.support.fakes import make_settings
from tests.server.support.in_process import AppTransport, wait_for_ready
from tests.support.factories import make_bundle
from tests.support.waiting import PATIENCE_S
from weights.bundle import save_bundle

pytestmark = pytest.mark.slow(30)

VIDEO = {"content-type": "video/mp4"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("libraries")


@pytest.fixture(scope="module")
def encoders(folder):
    """Name of a family -> encoder."""
    name, arguments = models.PE_CORE
    saved = {
        "vjepa2": f"hf:{models.save_vjepa2(folder / 'vjepa2')}",
        "siglip2": f"hf:{models.save_siglip2(folder / 'siglip2')}",
        "pe-core": f"timm:{models.save_timm(folder / 'pe-core', name, **arguments)}",
        "resnet": f"timm:{models.save_timm(folder / 'resnet', 'test_resnet')}",
    }
    return {k: load_named_encoder(spec, accept_license=True) for k, spec in saved.items()}


@pytest.fixture(scope="module")
def serving(folder, encoders):
    """(http, engine, loader): the loader puts a bundle into service, as SIGHUP does."""
    place = folder / "bundle"
    save_bundle(make_bundle(encoder=encoders["vjepa2"]), place)
    settings = make_settings(bundle=place, spool_dir=folder / "spool", decode_workers=1)
    engine = Engine.from_settings(settings)
    transport = AppTransport(create_app(settings, engine))
    transport.start()

    def load(encoder):
        shutil.rmtree(place)
        save_bundle(make_bundle(encoder=encoder), place)
        transport.run(engine.reload())
        assert engine.checks["reload"] == "ok"

    with httpx.Client(base_url="http://test", transport=transport, timeout=PATIENCE_S) as http:
        wait_for_ready(engine, http)
        yield http, engine, load
    transport.stop()


@pytest.mark.parametrize(
    ("family", "windows"), [("vjepa2", 11), ("siglip2", 5), ("pe-core", 5), ("resnet", 5)]
)
def test_a_clip_is_answered(serving, encoders, folder, family, windows):
    http, engine, load = serving
    load(encoders[family])
    assert engine.predictor.encoder.fingerprint == encoders[family].fingerprint
    video = models.write_video(folder / f"{family}.mp4")
    response = http.post("/v1/predictions", content=video.read_bytes(), headers=VIDEO)
    assert response.status_code == 200, response.text
    result = PredictionResult.from_dict(response.json())
    assert result.features.count == windows
    assert (result.input.width, result.input.height) == models.SIZE
    assert len(result.segments[0].ar.verb) == 5
    assert result.lta is not None

    response = http.post("/v1/features", content=video.read_bytes(), headers=VIDEO)
    found = parse_track(response.content, "features")
    expected = Extractor(encoders[family]).from_file(video)
    torch.testing.assert_close(found.features, expected.features, rtol=0, atol=1e-5)
    assert torch.equal(found.start_s, expected.start_s)
