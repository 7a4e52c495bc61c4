"""Times of a file's own clock, at every door: what is answered is where a player would show it."""

import pytest

from clients.results.predictions import PredictionResult
from tests.extract.support.odd_clips import IN_ORDER, ODD_CLIPS, encoded
from tests.server.conftest import assert_problem
from tests.server.support.fakes import make_settings
from tests.server.whole.test_real_clips import serving
from tests.support.factories import make_bundle
from weights.bundle import save_bundle

SAFETENSORS = "application/x-safetensors"
LATE = ("late.mp4", "late.mkv")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("times")


@pytest.fixture(scope="module")
def http(folder):
    save_bundle(make_bundle(), folder / "bundle")
    settings = make_settings(bundle=folder / "bundle", spool_dir=folder / "spool")
    with serving(settings) as (http, _):
        yield http


@pytest.fixture(scope="module")
def clip(folder):
    def read(name):
        path = folder / name
        if not path.exists():
            next(odd for odd in ODD_CLIPS if odd.name == name).make(path)
        return path.read_bytes()

    return read


def post(http, body, kind="video/mp4", **query):
    headers = {"content-type": kind}
    return http.post("/v1/predictions", content=body, params=query, headers=headers)


def answered(response):
    assert response.status_code == 200, response.text
    return PredictionResult.from_dict(response.json())


def by_job(http, body, **query):
    headers = {"content-type": "video/mp4", "prefer": "respond-async"}
    response = http.post("/v1/predictions", content=body, params=query, headers=headers)
    assert response.status_code == 202, response.text
    links = response.json()["links"]
    assert "event: completed" in http.get(links["events"]).text
    return answered(http.get(links["result"]))


def by_features(http, body, **query):
    made = http.post("/v1/features", content=body, headers={"content-type": "video/mp4"})
    return answered(post(http, made.content, SAFETENSORS, **query))


DOORS = {
    "clip": lambda http, body, **query: answered(post(http, body, **query)),
    "job": by_job,
    "features": by_features,
}


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", LATE)
def test_a_track_that_starts_late_is_answered_on_its_containers_clock(http, clip, name, door):
    result = DOORS[door](http, clip(name))
    (segment,) = result.segments
    assert (segment.start_s, segment.end_s) == pytest.approx((1.5, 3.5), abs=2e-3)
    assert 1.5 <= segment.pnr.time_s < 3.5
    assert segment.pnr.frame == round((segment.pnr.time_s - 1.5) * 30)
    if door != "features":
        assert result.input.start_s == pytest.approx(1.5, abs=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS)
def test_segments_are_asked_for_on_the_same_clock(http, clip, door):
    whole = DOORS[door](http, clip("late.mp4"))
    asked = DOORS[door](http, clip("late.mp4"), segments="0,3.5")
    assert asked.segments[0].start_s == pytest.approx(1.5)  # it shows nothing before
    assert asked.segments[0].pnr == whole.segments[0].pnr


@pytest.mark.parametrize("segment", ["0,1.5", "0.2,1", "3,3.7"])
def test_segments_without_a_picture_are_refused(http, clip, segment):
    response = post(http, clip("late.mp4"), segments=segment)
    assert_problem(response, 422, "invalid-field")
    assert "shows frames from 1.500 to 3.500 s" in response.json()["errors"][0]["detail"]


@pytest.fixture(scope="module")
def minute(folder):
    path = folder / "minute.mp4"
    encoded(*IN_ORDER, count=1800, rate="30000/1001")(path)
    return path.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS)
def test_seconds_of_an_ntsc_clip_are_its_own(http, minute, door):
    result = DOORS[door](http, minute, segments=["0,8", "52.06,60.06"])
    first, last = result.segments
    assert (last.start_s, last.end_s) == (52.06, 60.06)
    assert last.pnr.frame == pytest.approx(last.pnr.time_s * 30000 / 1001, abs=0.51)
    if door != "features":
        assert result.input.duration_s == pytest.approx(60.06)
    whole = DOORS[door](http, minute)
    assert whole.segments[-1].end_s == pytest.approx(60.06)
    assert [s.start_s for s in whole.segments] == pytest.approx([8.0 * k for k in range(8)])
    assert whole.segments[0].pnr == first.pnr


@pytest.mark.slow
@pytest.mark.parametrize("door", ["clip", "job"])
def test_the_track_that_was_asked_for_is_read_and_named(http, clip, door):
    both = clip("two-tracks.mp4")
    one, two = (DOORS[door](http, both, video_track=track) for track in (0, 1))
    default = DOORS[door](http, both)
    assert [r.input.video_track for r in (one, two, default)] == [0, 1, 0]
    assert default.input.video_tracks == 2
    assert default.segments == one.segments != two.segments
    assert [warning.code for warning in default.warnings] == ["several-tracks"]


def test_a_track_that_is_not_there_is_refused(http, clip):
    response = post(http, clip("two-tracks.mp4"), video_track=2)
    assert_problem(response, 422, "no-video-stream")
    assert "2 video tracks, counted from 0; there is no 2" in response.json()["detail"]


def test_features_have_no_tracks_to_choose_from(http, clip):
    made = http.post("/v1/features?video_track=1", content=clip("two-tracks.mp4"),
                     headers={"content-type": "video/mp4"})  # fmt: skip
    assert made.status_code == 200
    assert_problem(post(http, made.content, SAFETENSORS, video_track=1), 422, "invalid-field")


@pytest.mark.slow
def test_what_a_job_would_take_is_said(folder, clip):
    settings = make_settings(
        bundle=folder / "bundle", max_duration_s=2.1, max_clip_pixels=2_600_000
    )
    with serving(settings) as (http, _):
        for name, code, limit in (
            ("ntsc.mp4", "too-long-for-sync", "max_duration_s"),
            ("fast.mkv", "too-large-for-sync", "max_clip_pixels"),
        ):
            problem = post(http, clip(name)).json()
            assert (problem["status"], problem["code"]) == (422, code)
            assert limit in problem["limits"]
            assert "as a job (Prefer: respond-async), which may last 7200 s" in problem["detail"]
            assert by_job(http, clip(name)).segments


@pytest.mark.slow(2)
def test_a_clip_at_a_limit_is_taken_and_what_is_beyond_is_refused_by_its_own_name(folder, clip):
    settings = make_settings(bundle=folder / "bundle", max_fps=120, max_duration_s=2)
    with serving(settings) as (http, _):
        assert answered(post(http, clip("fast.mkv"))).input.fps == pytest.approx(120, abs=0.1)
        refused = post(http, clip("gap.mkv"))
        assert_problem(refused, 422, "too-long-for-sync")
