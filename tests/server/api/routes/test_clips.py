"""Clips kept over HTTP, with a model that can be computed by hand."""

import errno
from dataclasses import replace

import pytest

from extract.features.track import EncoderId
from extract.features.track_file import parse_track, track_bytes
from server.schemas import teaching as schemas
from tests.server.api.routes.test_features import track
from tests.server.conftest import assert_problem
from tests.server.support.fakes import clip
from tests.server.teaching.teaching_app import SAFETENSORS, keep

ENDPOINTS = [
    ("POST", "/v1/clips"), ("GET", "/v1/clips"), ("GET", "/v1/clips/c_0"),
    ("GET", "/v1/clips/c_0/video"), ("DELETE", "/v1/clips/c_0"), ("POST", "/v1/skills"),
    ("GET", "/v1/skills"), ("GET", "/v1/skills/hand"), ("GET", "/v1/skills/hand/versions/1"),
    ("POST", "/v1/skills/hand/activate"), ("POST", "/v1/skills/hand/deactivate"),
    ("POST", "/v1/skills/hand/rollback"), ("POST", "/v1/skills/hand/compare"),
    ("POST", "/v1/skills/suggest"), ("DELETE", "/v1/skills/hand"),
    ("DELETE", "/v1/skills/hand/versions/1"),
]  # fmt: skip


def send(served, body=None, *, name="kitchen-03", headers=None, **query):
    return served.http.post(
        "/v1/clips",
        params={"name": name, **query},
        content=clip() if body is None else body,
        headers={"content-type": "video/mp4", **(headers or {})},
    )


def teaching_files(served):
    """Files that are kept, and whatever half of one is left."""
    root = served.engine.settings.state_dir / "teaching"
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_a_clip_is_kept_as_its_features_once(served):
    made = send(served)
    assert made.status_code == 201, made.text
    body = schemas.Clip.model_validate_json(made.text, strict=True)
    assert made.headers["location"] == f"/v1/clips/{body.id}"
    assert (body.name, body.duration_s, body.has_video) == ("kitchen-03", 2.0, False)
    again = send(served)
    assert (again.status_code, again.json()) == (200, made.json())
    assert served.http.get("/v1/clips").json() == {
        "clips": [made.json()],
        "limit": 200,
        "keeps_videos": False,
    }
    assert served.http.get(made.headers["location"]).json() == made.json()
    (kept,) = (served.engine.settings.state_dir / "teaching").rglob("features.safetensors")
    whole = served.http.post("/v1/features", content=clip(), headers={"content-type": "video/mp4"})
    mine, theirs = (parse_track(data, "x") for data in (kept.read_bytes(), whole.content))
    assert mine.features.equal(theirs.features)
    assert mine.video_id == "kitchen-03"
    assert_problem(served.http.get(f"/v1/clips/{body.id}/video"), 404, "not-found")
    assert served.http.delete(made.headers["location"]).status_code == 204
    assert_problem(served.http.delete(made.headers["location"]), 404, "not-found")
    assert teaching_files(served) == ["clips.lock"]


def test_another_clip_under_the_name_is_refused_and_the_first_one_stays(served):
    made = send(served).json()
    assert_problem(send(served, clip(60, 101)), 409, "clip-exists")
    assert served.http.get("/v1/clips").json()["clips"] == [made]
    assert send(served, clip(60, 101), name="kitchen-04").status_code == 201


def test_features_are_kept_too_also_those_of_a_longer_video(served):
    long = track(served, 30 * 120)
    assert keep(served.http, long, "long").json()["duration_s"] == 120.0
    foreign = replace(long, encoder=EncoderId("other", "0" * 64))
    assert_problem(keep(served.http, foreign, "foreign"), 422, "unusable-features")
    assert_problem(keep(served.http, track(served, 30 * 8000), "day"), 422, "too-long-for-sync")


@pytest.mark.parametrize("name", ["", " a", "a ", "a/b", "a\tb", "a\x7f", "x" * 129])
def test_a_name_is_that_of_a_file(served, name):
    problem = assert_problem(send(served, name=name), 422, "invalid-field")
    assert problem["errors"][0]["pointer"] == "/name"


def test_names_are_text(served):
    name = "<img src=x onerror=alert(1)>..\\Küche 1"
    assert send(served, name=name).json()["name"] == name
    assert all(ord(char) < 128 for path in teaching_files(served) for char in path)


def test_clips_are_their_callers_own(serve):
    served = serve(api_keys={"ann": "annas-key", "bob": "bobs-key"})
    ann, bob = {"x-api-key": "annas-key"}, {"x-api-key": "bobs-key"}
    made = send(served, headers=ann)
    other = send(served, clip(60, 101), headers=bob)
    assert (made.status_code, other.status_code) == (201, 201)
    assert made.json()["id"] != other.json()["id"]
    path = made.headers["location"]
    assert served.http.get("/v1/clips", headers=bob).json()["clips"] == [other.json()]
    for call in (served.http.get, served.http.delete):
        assert_problem(call(path, headers=bob), 404, "not-found")
    assert served.http.get(path, headers=ann).status_code == 200


def test_a_caller_keeps_so_many_clips_and_no_more(serve):
    served = serve(teaching_clips=2)
    assert [send(served, clip(60, g), name=f"{g}").status_code for g in (1, 2)] == [201, 201]
    problem = assert_problem(send(served, clip(60, 3), name="3"), 409, "teaching-quota")
    assert problem["limits"]["teaching_clips"] == 2
    assert send(served, clip(60, 2), name="2").status_code == 200
    served.http.delete(f"/v1/clips/{served.http.get('/v1/clips').json()['clips'][0]['id']}")
    assert send(served, clip(60, 3), name="3").status_code == 201


def test_a_caller_keeps_so_many_bytes_and_no_more(serve):
    served = serve(teaching_storage_mb=0.002)
    assert send(served).status_code == 201
    many = [send(served, clip(60, g), name=f"{g}") for g in (1, 2, 3)]
    assert_problem(many[-1], 409, "teaching-quota")


def test_videos_are_kept_where_the_server_allows_it_and_come_in_parts(serve):
    served = serve(teaching_keep_videos=True)
    assert send(served).json()["has_video"] is False
    made = send(served, keep_video=True)
    assert (made.status_code, made.json()["has_video"]) == (200, True)
    assert send(served).json()["has_video"] is True  # is not lost again
    path = f"{made.headers['location']}/video"
    whole = served.http.get(path)
    assert (whole.content, whole.headers["content-type"]) == (clip(), "video/mp4")
    part = served.http.get(path, headers={"range": "bytes=5-6"})
    assert (part.status_code, part.content) == (206, clip()[5:7])
    refused = keep(served.http, track(served, 60), "features")
    assert refused.status_code == 201
    sent = served.http.post(
        "/v1/clips?name=x&keep_video=true", content=track_bytes(track(served, 60)),
        headers={"content-type": SAFETENSORS},
    )  # fmt: skip
    assert_problem(sent, 422, "invalid-field")


def test_elsewhere_a_video_is_not_kept(served):
    problem = assert_problem(send(served, keep_video=True), 422, "invalid-field")
    assert problem["errors"][0]["pointer"] == "/keep_video"
    assert teaching_files(served) == []


@pytest.mark.parametrize("step", ["os.rename", "shutil.copyfile"])
def test_a_full_disk_leaves_no_half_of_a_clip(serve, monkeypatch, step):
    served = serve(teaching_keep_videos=True)

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        module = "files" if step == "os.rename" else "clips"
        patch.setattr(f"server.teaching.{module}.{step}", fail)
        problem = assert_problem(send(served, keep_video=True), 503, "storage-unavailable")
        assert "full" in problem["detail"]
    assert teaching_files(served) == ["clips.lock"]
    assert send(served, keep_video=True).status_code == 201


@pytest.mark.parametrize("values", [
    {"teaching": "off"},
    {"host": "0.0.0.0", "insecure_no_auth": True},
])  # fmt: skip
def test_where_teaching_is_off_there_is_nothing(serve, values):
    served = serve(**values)
    for method, path in ENDPOINTS:
        assert_problem(served.http.request(method, path), 404, "teaching-off")
    assert not (served.engine.settings.state_dir / "teaching").exists()
