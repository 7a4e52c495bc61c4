import json

import pytest
import torch
from safetensors.torch import save_file

from extract.contract import OMNIVORE
from extract.errors import FeatureFileInvalid
from extract.features.store import FeatureStore
from extract.features.track import EncoderId, FeatureTrack, window_times


def make_track(num_frames=100, video_id="kitchen-1", **changes):
    start_s, end_s = window_times(num_frames, OMNIVORE, 30)
    return FeatureTrack(
        **{
            "features": torch.randn(len(start_s), 5),
            "start_s": start_s,
            "end_s": end_s,
            "fps": 30.0,
            "video_id": video_id,
            "encoder": EncoderId("tiny", "abc"),
            "num_frames": num_frames,
            "is_padded": num_frames < 32,
            **changes,
        }
    )


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


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
@pytest.mark.parametrize("shape", [(3, 5), (3, 1, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_files_of_the_ego4d_release_are_read(tmp_path, suffix, shape, dtype):
    tensor = torch.randn(shape).to(dtype)
    torch.save(tensor, tmp_path / f"video{suffix}")
    store = FeatureStore(tmp_path)

    track = store.read("video")

    assert torch.equal(track.features, tensor.reshape(3, 5).float())
    assert track.num_frames == 64
    torch.testing.assert_close(track.start_s * 30, torch.tensor([0.0, 16, 32]).double())
    assert store.video_ids() == ["video"]


def test_the_length_of_the_video_moves_the_last_window_back(tmp_path):
    torch.save(torch.randn(3, 5), tmp_path / "video.pt")
    track = FeatureStore(tmp_path).read("video", num_frames=49)
    torch.testing.assert_close(track.start_s * 30, torch.tensor([0.0, 16, 17]).double())
    torch.testing.assert_close(track.end_s * 30, torch.tensor([32.0, 48, 49]).double())


def test_a_length_that_contradicts_the_file_is_refused(tmp_path):
    torch.save(torch.randn(3, 5), tmp_path / "video.pt")
    with pytest.raises(FeatureFileInvalid, match="6 windows, the file has 3"):
        FeatureStore(tmp_path).read("video", num_frames=100)


def test_our_features_can_be_written_as_the_release_has_them(tmp_path):
    store, track = FeatureStore(tmp_path), make_track()
    path = tmp_path / store.write_bare(track)
    assert torch.equal(torch.load(path, weights_only=True), track.features)
    found = store.read(track.video_id, num_frames=track.num_frames)
    assert torch.equal(found.end_s, track.end_s)


class Hostile:
    def __reduce__(self):
        return (exec, ("raise SystemExit('a pickle was run')",))


def test_a_pickle_with_code_is_refused_and_not_run(tmp_path):
    torch.save(Hostile(), tmp_path / "video.pt")
    with pytest.raises(FeatureFileInvalid):
        FeatureStore(tmp_path).read("video")


@pytest.mark.parametrize("content", [torch.randn(3), torch.randn(2, 3, 4), [1, 2]])
def test_bare_files_that_are_no_features_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "video.pt")
    with pytest.raises(FeatureFileInvalid, match=r"expected \(N, D\)"):
        FeatureStore(tmp_path).read("video")


@pytest.mark.parametrize("name", ["video.pt", "video.safetensors"])
@pytest.mark.parametrize("data", [b"", b"not features at all"])
def test_broken_files_are_refused(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(FeatureFileInvalid):
        FeatureStore(tmp_path).read("video")


def test_every_cut_of_a_track_file_is_refused(tmp_path):
    store = FeatureStore(tmp_path)
    data = (tmp_path / store.write(make_track())).read_bytes()
    for size in range(0, len(data), 37):
        (tmp_path / "kitchen-1.safetensors").write_bytes(data[:size])
        with pytest.raises(FeatureFileInvalid):
            store.read("kitchen-1")


def test_safetensors_of_something_else_are_refused(tmp_path):
    save_file({"features": torch.zeros(3, 5)}, tmp_path / "a.safetensors")
    save_file(
        {"features": torch.zeros(3, 5)},
        tmp_path / "b.safetensors",
        metadata={"format": json.dumps("egopack-track/1")},
    )
    store = FeatureStore(tmp_path)
    for video_id in ("a", "b"):
        with pytest.raises(FeatureFileInvalid):
            store.read(video_id)


@pytest.mark.parametrize("video_id", ["", "../up", "a/b", ".hidden", "a\0b"])
def test_ids_that_are_no_file_names_are_refused(tmp_path, video_id):
    store = FeatureStore(tmp_path)
    assert not store.has(video_id)
    with pytest.raises(ValueError, match="cannot name"):
        store.write(make_track(video_id=video_id))
    with pytest.raises(KeyError):
        store.read(video_id)


def test_a_track_checks_its_shapes():
    with pytest.raises(ValueError, match="float32"):
        make_track(features=torch.zeros(6, 5, dtype=torch.float64))
    with pytest.raises(ValueError, match="starts and ends"):
        make_track(features=torch.zeros(2, 5))


def test_a_track_is_written_the_same_to_the_byte_every_time(tmp_path):
    store, track = FeatureStore(tmp_path), make_track()
    assert len({(tmp_path / store.write(track)).read_bytes() for _ in range(20)}) == 1


def test_what_writes_that_were_cut_short_left_is_swept_by_video(tmp_path):
    store = FeatureStore(tmp_path)
    hexadecimal = "0123456789abcdef" * 2
    left = [f".a.safetensors.{hexadecimal}.tmp", f".b.c.pt.{hexadecimal}.tmp"]
    kept = [f".other.pt.{hexadecimal}.tmp", ".a.pt.tmp", "a.pt", f".a.json.{hexadecimal}.tmp"]
    for name in (*left, *kept):
        (tmp_path / name).touch()
    store.sweep({"a", "b.c"})
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
