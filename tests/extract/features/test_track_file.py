import json

import pytest
import torch
from safetensors.torch import save_file

from extract.errors import FeatureFileInvalid
from extract.features.store import FeatureStore
from extract.features.track_file import MAX_HEADER_BYTES, parse_track
from tests.extract.features.tracks import make_track


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


def test_a_track_is_written_the_same_to_the_byte_every_time(tmp_path):
    store, track = FeatureStore(tmp_path), make_track()
    assert len({(tmp_path / store.write(track)).read_bytes() for _ in range(20)}) == 1


def test_a_header_that_declares_or_holds_too_much_is_refused_before_it_is_parsed(monkeypatch):
    monkeypatch.setattr("extract.features.track_file.load", lambda data: 1 / 0)
    long = MAX_HEADER_BYTES + 1
    for data in (long.to_bytes(8, "little") + b"[" * long, b"\xff" * 16):
        with pytest.raises(FeatureFileInvalid, match="longer than"):
            parse_track(data, "clip")
