import json
from pathlib import Path

import pytest
import torch

from extract.dataset.video_lists import Video
from extract.errors import FeatureFileInvalid
from extract.features.ids import id_of
from extract.features.store import FeatureStore
from extract.features.track_check import Annotated, FeatureCheck
from model.data.annotations import DataRoot
from model.data.missing import with_missing
from model.data.tracks import load_tracks, read_files
from model.errors import FeaturesMissing, VideosUnreadable
from model.predict.predictor import Predictor
from tests.extract.support.clips import write_numbered
from tests.support.factories import make_bundle, make_track

NAME = "omnivore_video_swinl"
ROWS = {"a": 7, "b": 3, "c": 11}


@pytest.fixture
def data(tmp_path):
    found = DataRoot(tmp_path / "ego4d", "v2")
    found.features(NAME).mkdir(parents=True)
    for seed, (video, rows) in enumerate(ROWS.items()):
        generator = torch.Generator().manual_seed(seed)
        features = torch.randn(rows, 1, 6, generator=generator).half()
        torch.save(features, found.features(NAME) / f"{video}.pt")
    return found


def of(tracks, video):
    start = tracks.offset[video]
    return tracks.features[start : start + tracks.rows[video]].float()


@pytest.mark.parametrize("features", ["name", "folder"])
def test_packed_and_joined_tracks_hold_the_same(tmp_path, data, features):
    source = NAME if features == "name" else data.features(NAME)
    joined = load_tracks(data, list(ROWS), source, packed_under=None)
    packed = load_tracks(data, list(ROWS), source, packed_under=tmp_path / "work")
    assert packed.features.dtype == torch.float16
    store = FeatureStore(data.features(NAME))
    for video, rows in ROWS.items():
        assert joined.rows[video] == packed.rows[video] == rows
        assert torch.equal(of(joined, video), store.read(video).features)
        assert torch.equal(of(packed, video), store.read(video).features)


def test_a_folder_of_our_own_tracks_is_loaded_alike(tmp_path, data):
    store = FeatureStore(tmp_path / "ours")
    track = make_track(300, video_id="mine")
    store.write(track)
    for under in (None, tmp_path / "work"):
        found = load_tracks(data, ["mine"], tmp_path / "ours", packed_under=under)
        assert torch.equal(of(found, "mine"), track.features)


@pytest.mark.parametrize("packs", [True, False])
def test_missing_features_say_what_was_looked_for_and_how_to_fetch_them(tmp_path, data, packs):
    under = tmp_path / "work" if packs else None
    with pytest.raises(FeaturesMissing) as caught:
        load_tracks(data, ["a", "x", "y"], NAME, packed_under=under)
    assert caught.value.videos == ("x", "y")
    text = str(caught.value)
    assert "video x and 1 more" in text
    assert str(data.features(NAME)) in text
    assert f"--datasets {NAME} --benchmarks FHO --version v2" in text


def test_a_feature_set_that_is_not_there_is_missing_too(tmp_path, data):
    with pytest.raises(FeaturesMissing, match="slowfast8x8_r101_k400"):
        load_tracks(data, ["a"], "slowfast8x8_r101_k400", packed_under=tmp_path / "work")


def test_features_cut_at_another_stride_than_their_video_allows_are_refused(tmp_path, data):
    videos = [{"video_uid": "a", "video_metadata": {"num_frames": 300}}]
    (data.root / "v2" / "ego4d.json").write_text(json.dumps({"videos": videos}))
    with pytest.raises(FeatureFileInvalid, match=r"a\.pt: 300 frames make 18 windows"):
        load_tracks(data, ["a"], NAME, packed_under=tmp_path / "work")


ODD = ["Küche 1", "a/b [c]", "plain"]


def test_tracks_of_videos_of_any_name_are_found_by_their_ids(tmp_path, data):
    store = FeatureStore(tmp_path / "ours")
    made = {video: make_track(300, seed=k, video_id=id_of(video)) for k, video in enumerate(ODD)}
    for track in made.values():
        store.write(track)
    for under in (None, tmp_path / "work"):
        found = load_tracks(data, ODD, tmp_path / "ours", packed_under=under)
        for video, track in made.items():
            assert torch.equal(of(found, video), track.features)
    with pytest.raises(FeaturesMissing, match=id_of("Küche 2")):
        load_tracks(data, ["Küche 2"], tmp_path / "ours", packed_under=None)


def test_a_stated_length_is_that_of_the_video_of_the_name(tmp_path, data):
    FeatureStore(data.features(NAME)).write_bare(make_track(300, video_id=id_of("Küche 1")))
    videos = [{"video_uid": "Küche 1", "video_metadata": {"num_frames": 900}}]
    (data.root / "v2" / "ego4d.json").write_text(json.dumps({"videos": videos}))
    with pytest.raises(FeatureFileInvalid, match="900 frames make 56 windows"):
        load_tracks(data, ["Küche 1"], NAME, packed_under=tmp_path / "work")


@pytest.fixture
def encoder():
    return Predictor(make_bundle()).encoder


def read(files, store, encoder, **more):
    def locate(videos):
        return {video: Video(id_of(video), files[video]) for video in videos}

    return read_files(list(files), store, encoder, locate=locate, **more)


def test_videos_that_cannot_be_read_are_told_of_after_the_others_are_stored(tmp_path, encoder):
    files = {video: tmp_path / f"{k}.mp4" for k, video in enumerate(["bad", *ODD, "empty"])}
    files["bad"].write_bytes(b"nothing")
    files["empty"].touch()
    for video in ODD:
        write_numbered(files[video], 40)
    store = FeatureStore(tmp_path / "features")
    with pytest.raises(VideosUnreadable) as caught:
        read(files, store, encoder)
    assert list(caught.value.failed) == [files["bad"], files["empty"]]
    assert "2 of 5 videos cannot be read" in str(caught.value)
    assert f"{files['bad']}: not-a-video" in str(caught.value)
    assert store.video_ids() == sorted(map(id_of, ODD))
    write_numbered(files["bad"], 40)
    write_numbered(files["empty"], 40)
    steps = []
    found = read(files, store, encoder, progress=lambda *step: steps.append(step))
    assert [track.video_id for track in found] == list(files)
    assert steps == [(done, 5) for done in range(1, 6)]


def test_a_video_whose_track_is_refused_does_not_keep_the_others_from_being_stored(
    tmp_path, encoder
):
    files = {video: write_numbered(tmp_path / f"{video}.mp4", 40) for video in "abc"}
    store = FeatureStore(tmp_path / "features")
    check = FeatureCheck(annotated={"b": Annotated(1000, 1100, "a segment")})
    with pytest.raises(VideosUnreadable, match="a segment begins at frame 1000") as caught:
        read(files, store, encoder, check=check)
    assert list(caught.value.failed) == [files["b"]]
    assert store.video_ids() == ["a", "c"]


def test_videos_that_are_gone_are_all_missed_before_another_is_decoded(tmp_path, encoder):
    files = {video: tmp_path / f"{k}.mp4" for k, video in enumerate([*ODD, "gone"])}
    write_numbered(files["plain"], 40)
    store = FeatureStore(tmp_path / "features")
    with pytest.raises(FeaturesMissing) as caught:
        read(files, store, encoder)
    assert caught.value.videos == (id_of(ODD[0]), id_of(ODD[1]), "gone")
    assert str(files[ODD[0]]) in str(caught.value)
    assert store.video_ids() == []


@pytest.mark.parametrize("packs", [True, False])
def test_videos_of_any_name_are_left_out_by_their_names(tmp_path, data, packs):
    store = FeatureStore(tmp_path / "ours")
    for video in ODD[1:]:
        store.write(make_track(300, video_id=id_of(video)))

    def load(videos):
        return load_tracks(data, videos, store.root, packed_under=tmp_path if packs else None)

    tracks, gone = with_missing(load, [ODD], "skip")
    assert gone == {ODD[0]}
    assert set(ODD[1:]) <= set(tracks.offset)
    with pytest.raises(FeaturesMissing, match="--missing skip"):
        with_missing(load, [ODD], "refuse")


def test_a_long_list_of_unreadable_videos_is_shortened():
    error = VideosUnreadable({Path(f"{k}.mp4"): "gone" for k in range(12)}, 40)
    assert str(error).count("gone") == 10
    assert str(error).endswith("... and 2 more")
