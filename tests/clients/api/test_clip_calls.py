import httpx
import pytest

from clients.errors import BadClip, NotFound, Rejected, ServerFault, Unreachable
from clients.results.predictions import Progress
from extract.features.store import FeatureStore


def test_features_come_as_a_file_of_the_store(client, clip_path, tmp_path):
    (tmp_path / "kept.safetensors").write_bytes(client.features(clip_path))
    assert FeatureStore(tmp_path).read("kept").num_frames == 120
    clip_path.write_bytes(b"reject damaged")
    with pytest.raises(Rejected) as caught:
        client.features(clip_path)
    assert caught.value.code == "undecodable-video"


def test_the_backpack_is_searched_for_a_clip_and_for_an_action(client, clip_path):
    found = client.search(clip_path, segments=[(0, 2), (2, 4)], perspectives=["pnr"], top_k=2)
    assert [(m.start_s, m.end_s) for m in found.matches] == [(0.0, 2.0), (2.0, 4.0)]
    assert [len(near) for near in found.matches[1].perspectives.values()] == [2]
    (match,) = client.search_action("take", "cup", top_k=1).matches
    assert match.start_s is None
    assert match.perspectives["oscc"][0].noun == "cup"
    with pytest.raises(Rejected):
        client.search_action("take", "moon")


def test_models_limits_and_taxonomy_are_told(client):
    assert client.models()[0].name == "fake"
    assert client.limits().max_duration_s == 64.0
    assert client.taxonomy()["noun"] == ["cup", "knife"]


def test_features_stand_in_for_the_clip_they_are_of(client, clip_path, tmp_path):
    track = client.features(clip_path)
    (tmp_path / "track.safetensors").write_bytes(track)
    of_clip = client.predict(clip_path, seed=3)
    assert of_clip.input is not None
    for features in (track, tmp_path / "track.safetensors"):
        of_track = client.predict(features=features, seed=3)
        assert (of_track.segments, of_track.lta) == (of_clip.segments, of_clip.lta)
        assert of_track.input is None
        assert (of_track.duration_s, of_track.fps) == (of_clip.duration_s, 30.0)
        assert client.search(features=features).matches == client.search(clip_path).matches
    with pytest.raises(BadClip):
        client.predict(features=b"no track")


def test_a_stream_tells_how_far_it_is_and_then_the_answer(client, clip_path):
    *told, answer = client.stream(clip_path, tasks=["oscc"])
    assert [one.stage for one in told][0] == "received"
    assert all(isinstance(one, Progress) for one in told)
    assert told[-1].windows_done == told[-1].windows_total > 0
    assert answer.segments == client.predict(clip_path, tasks=["oscc"]).segments
    clip_path.write_bytes(b"reject damaged")
    with pytest.raises(BadClip):
        list(client.stream(clip_path))


def test_one_model_is_asked_for_by_its_name(client):
    assert client.model("fake") == client.models()[0]
    with pytest.raises(NotFound):
        client.model("a name/with a slash")


def test_a_clip_or_its_features_are_sent_and_never_both_or_what_we_do_not_know(client, clip_path):
    for wrong in ({}, {"clip": clip_path, "features": b""}, {"clip": clip_path, "taks": ["ar"]}):
        with pytest.raises(TypeError):
            client.predict(**wrong)


def test_a_refused_field_is_named(client, clip_path):
    with pytest.raises(Rejected) as caught:
        client.predict(clip_path, tasks=["dance"])
    assert (caught.value.status, caught.value.code) == (422, "invalid-field")
    assert caught.value.errors[0][0] == "/tasks"
    assert caught.value.request_id


def test_a_stream_that_breaks_off_is_no_answer(mocked, clip_path):
    wire = b'event: progress\ndata: {"stage": "received"}\n\n'
    replies = [wire, wire + b"event: completed\ndata: [1]\n\n", b"event: error\ndata: {]\n\n"]
    for body, error in zip(replies, (Unreachable, ServerFault, ServerFault), strict=True):
        answer = httpx.Response(200, content=body)
        with mocked(lambda _, answer=answer: answer) as client, pytest.raises(error):
            list(client.stream(clip_path))
