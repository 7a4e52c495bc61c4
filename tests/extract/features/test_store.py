import pytest
import torch

from extract.features.store import FeatureStore
from tests.extract.features.tracks import make_track


@pytest.mark.parametrize("num_frames", [10, 100])
def test_a_track_comes_back_as_it_was_written(tmp_path, num_frames):
    store, track = FeatureStore(tmp_path / "features"), make_track(num_frames)
    assert not store.has(track.video_id)

    store.write(track)
    found = store.read(track.video_id)

    for name in ("features", "start_s", "end_s"):
        assert torch.equal(getattr(found, name), getattr(track, name)), name
    for name in ("fps", "video_id", "encoder", "num_frames", "stride_frames", "is_padded"):
        assert getattr(found, name) == getattr(track, name), name


def test_writing_again_replaces_and_leaves_nothing_else(tmp_path):
    store = FeatureStore(tmp_path)
    store.write(make_track())
    second = make_track(40)
    store.write(second)
    assert torch.equal(store.read("kitchen-1").features, second.features)
    assert [p.name for p in tmp_path.iterdir()] == ["kitchen-1.safetensors"]


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    store, track = FeatureStore(tmp_path), make_track()
    store.write(track)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        store.write(make_track(40))
    assert torch.equal(store.read("kitchen-1").features, track.features)
    assert [p.name for p in tmp_path.iterdir()] == ["kitchen-1.safetensors"]


def test_our_features_can_be_written_as_the_release_has_them(tmp_path):
    store, track = FeatureStore(tmp_path), make_track()
    path = tmp_path / store.write_bare(track)
    assert torch.equal(torch.load(path, weights_only=True), track.features)
    found = store.read(track.video_id, num_frames=track.num_frames)
    assert torch.equal(found.end_s, track.end_s)


@pytest.mark.parametrize("video_id", ["", "../up", "a/b", ".hidden", "a\0b"])
def test_ids_that_are_no_file_names_are_refused(tmp_path, video_id):
    store = FeatureStore(tmp_path)
    assert not store.has(video_id)
    with pytest.raises(ValueError, match="cannot name"):
        store.write(make_track(video_id=video_id))
    with pytest.raises(KeyError):
        store.read(video_id)


def test_what_writes_that_were_cut_short_left_is_swept_by_video(tmp_path):
    store = FeatureStore(tmp_path)
    hexadecimal = "0123456789abcdef" * 2
    left = [f".a.safetensors.{hexadecimal}.tmp", f".b.c.pt.{hexadecimal}.tmp"]
    kept = [f".other.pt.{hexadecimal}.tmp", ".a.pt.tmp", "a.pt", f".a.json.{hexadecimal}.tmp"]
    for name in (*left, *kept):
        (tmp_path / name).touch()
    store.sweep({"a", "b.c"})
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
