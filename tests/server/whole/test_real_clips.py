"""Real files through the real decoders and a tiny model: what a caller would meet."""

import os
import signal
from contextlib import contextmanager

import httpx
import pytest

from clients.results.predictions import PredictionResult
from model.predict.predictor import PredictRequest
from server.api.app import create_app
from server.engine.engine import Engine
from tests.extract.support.clips import noisy_frames, write_audio_only, write_clip, write_numbered
from tests.server.conftest import assert_problem
from tests.server.support.fakes import make_settings
from tests.server.support.in_process import AppTransport, wait_for_ready
from tests.support.factories import make_bundle
from tests.support.waiting import PATIENCE_S
from weights.bundle import save_bundle


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("real")


@pytest.fixture(scope="module")
def bundle(folder):
    save_bundle(make_bundle(), folder / "bundle")
    return folder / "bundle"


@pytest.fixture(scope="module")
def real(folder, bundle):
    """(http, engine): a server with everything real but the size of the model."""
    settings = make_settings(
        bundle=bundle,
        spool_dir=folder / "spool",
        max_duration_s=10,
        max_pixels=640 * 480,
        max_upload_mb=4,
    )
    with serving(settings) as server:
        yield server


@contextmanager
def serving(settings):
    """Lends (http, engine) of a server that is ready."""
    engine = Engine.from_settings(settings)
    transport = AppTransport(create_app(settings, engine))
    transport.start()
    with httpx.Client(base_url="http://test", transport=transport, timeout=PATIENCE_S) as http:
        wait_for_ready(engine, http)
        yield http, engine
    transport.stop()


@pytest.fixture(scope="module")
def good(folder):
    return write_clip(folder / "good.mp4", noisy_frames(90, 64, 48)).read_bytes()


def post(http, body, **query):
    headers = {"content-type": "video/mp4"}
    return http.post("/v1/predictions", content=body, params=query, headers=headers)


def stable(response):
    assert response.status_code == 200, response.text
    return {k: v for k, v in response.json().items() if k not in ("id", "timings")}


@pytest.mark.slow
def test_who_decodes_is_a_setting_and_changes_no_answer(real, bundle, folder):
    clip = write_clip(folder / "wide.mp4", noisy_frames(90, 160, 90)).read_bytes()
    answers = {"decord": stable(post(real[0], clip))}
    with serving(make_settings(bundle=bundle, reader="pyav")) as (http, _):
        answers["pyav"] = stable(post(http, clip))
    assert {name: answer["input"].pop("reader") for name, answer in answers.items()} == {
        "decord": "decord",
        "pyav": "pyav",
    }
    assert answers["decord"] == answers["pyav"]


def test_a_clip_gets_all_four_answers_in_one_pass(real, good):
    http, engine = real
    before = engine.predictor.backbone_passes
    response = post(http, good)
    assert engine.predictor.backbone_passes == before + 1
    result = PredictionResult.from_dict(response.json())
    assert result.input.frames_declared == 90
    assert result.input.frames_decoded == 45  # its encoder looks at every second one
    assert result.input.duration_s == pytest.approx(3.0)
    assert result.features.count == 5
    segment = result.segments[0]
    assert len(segment.ar.verb) == 5
    assert len(segment.pnr.scores) == 16
    assert 0 <= segment.pnr.frame < 90
    assert [len(future) for future in result.lta.hypotheses] == [20] * 5
    assert set(segment.evidence.neighbours) == {"ar", "oscc", "pnr"}
    assert set(result.lta.evidence.votes) == {"lta.verb", "lta.noun"}


def test_form_and_raw_body_and_a_second_time_give_the_same_answer(real, good):
    http, _ = real
    form = http.post("/v1/predictions", files={"video": ("x.mp4", good)})
    assert stable(form) == stable(post(http, good)) == stable(post(http, good))


def test_the_answer_is_the_one_of_the_same_calls_in_process(real, good, folder):
    from extract.decode.video import decode_clip
    from extract.features.extractor import Extractor

    http, engine = real
    path = folder / "in_process.mp4"
    path.write_bytes(good)
    predictor = engine.predictor
    clip = decode_clip(path, predictor.encoder.contract, engine._decode.pool.limits)
    track = Extractor(predictor.encoder).from_clip(clip, video_id="clip")
    (expected,) = predictor.predict([PredictRequest(track, frozenset(predictor.tasks))])
    found = PredictionResult.from_dict(post(http, good).json())
    for ours, theirs in zip(expected.segments, found.segments, strict=True):
        assert theirs.oscc.probability == pytest.approx(ours.oscc.probability, abs=1e-5)
        assert theirs.pnr.scores == pytest.approx(ours.pnr.scores, abs=1e-5)
        assert [r.label for r in theirs.ar.verb] == [r.label for r in ours.ar.verb]


def test_a_clip_at_another_rate_is_told_and_its_frames_counted_as_sent(real, folder):
    http, _ = real
    path = write_numbered(folder / "slow.mp4", 45, rate=15)
    answer = stable(post(http, path.read_bytes()))
    assert answer["warnings"][0]["code"] == "resampled-from-15fps"
    pnr = answer["segments"][0]["pnr"]
    assert pnr["frame"] == pytest.approx(pnr["time_s"] * 15, abs=1)


BROKEN = {
    "empty": (lambda f: b"", 400, "malformed-request"),
    "text": (lambda f: b"not a video at all, just words\n" * 50, 415, "unsupported-media"),
    "playlist": (lambda f: b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", 415, "unsupported-media"),
    "truncated": (
        lambda f: write_numbered(f / "cut.mp4", 90).read_bytes()[:-4000],
        422,
        "undecodable-video",
    ),
    "audio only": (lambda f: write_audio_only(f / "a.mp4").read_bytes(), 422, "no-video-stream"),
    "too long": (
        lambda f: write_numbered(f / "long.mp4", 330).read_bytes(),
        422,
        "too-long-for-sync",
    ),
    "too many pixels": (
        lambda f: write_clip(f / "big.mp4", noisy_frames(2, 800, 600)).read_bytes(),
        422,
        "too-many-pixels",
    ),
    "too large": (lambda f: b"\0" * (5 << 20), 413, "body-too-large"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_gets_the_right_refusal_and_the_next_clip_its_answer(
    real, good, folder, name
):
    http, _ = real
    make, status, code = BROKEN[name]
    assert_problem(post(http, make(folder)), status, code)
    stable(post(http, good))
    assert [p for p in (folder / "spool").rglob("*") if p.is_file()] == []


def test_a_segment_outside_the_clip_is_refused(real, good):
    http, _ = real
    problem = assert_problem(post(http, good, segments=["0,1", "2,9"]), 422, "invalid-field")
    assert problem["errors"][0]["pointer"] == "/segments/1"


@pytest.mark.slow
def test_killed_decoders_cost_no_later_answer(real, good):
    http, engine = real
    expected = stable(post(http, good))
    for pid in engine._decode.pool.pids:
        os.kill(pid, signal.SIGKILL)
    assert stable(post(http, good)) == expected
    assert stable(post(http, good)) == expected
