import json

import pytest
import torch

from extract.errors import FeatureFileInvalid
from extract.store import FeatureStore
from model.data.annotations import DataRoot
from model.data.tracks import load_tracks
from model.errors import FeaturesMissing
from tests.factories import make_track

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
