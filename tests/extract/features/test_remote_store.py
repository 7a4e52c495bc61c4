"""Features behind a URL: the same bytes, the same answers, whole or not there."""

import json
import logging

import fsspec
import pytest
import torch

from extract.__main__ import main
from extract.dataset.compare import main as compare
from extract.errors import FeatureFileInvalid
from extract.features.pack import PackedFeatures, pack
from extract.features.store import FeatureStore
from tests.extract.support.clips import write_numbered
from tests.support.factories import make_track
from weights.errors import RemoteFailed

S3 = "s3://bucket/features/tiny"


@pytest.fixture(params=["s3", "memory"])
def url(request):
    if request.param == "s3":
        request.getfixturevalue("storage")
        return S3
    fsspec.filesystem("memory").store.clear()
    return "memory://features/tiny"


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    for name, frames in (("one", 50), ("two", 40)):
        write_numbered(folder / f"{name}.mp4", frames)
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EGOPACK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def extract(videos, out, bundle, *more):
    return main([str(word) for word in (videos, "--out", out, "--encoder", bundle, *more)])


def summary(capsys):
    found = json.loads(capsys.readouterr().out)
    return found["written"], found["skipped"], found["failed"]


@pytest.mark.slow
@pytest.mark.parametrize("layout", [(), ("--format", "pt", "--half")])
def test_extraction_into_a_bucket_is_the_same_to_the_byte_and_skips_what_is_finished(
    bundle, videos, tmp_path, storage, capsys, layout
):
    local = tmp_path / "features"
    assert extract(videos, local, bundle, *layout) == extract(videos, S3, bundle, *layout) == 0
    keys = [key for key in storage.names() if not key.endswith("report.json")]
    names = {path.name for path in local.iterdir()} - {"report.json"}
    assert {key.rpartition("/")[2] for key in keys} == names
    for key in keys:
        assert storage.content(key) == (local / key.rpartition("/")[2]).read_bytes()
    capsys.readouterr()
    storage.clear()
    assert extract(videos, S3, bundle, *layout) == 0
    assert summary(capsys) == (0, 2, {})
    assert {key.rpartition("/")[2] for key in storage.puts()} == {"report.json"}


@pytest.mark.slow(2)
def test_a_damaged_object_is_extracted_again(bundle, videos, storage, capsys):
    extract(videos, S3, bundle)
    before = storage.content("features/tiny/one.safetensors")
    storage.flip("features/tiny/one.safetensors")
    capsys.readouterr()
    assert extract(videos, S3, bundle) == 0
    assert summary(capsys) == (1, 1, {})
    assert storage.content("features/tiny/one.safetensors") == before


@pytest.mark.slow
def test_a_video_whose_features_cannot_be_put_fails_alone(bundle, videos, storage, capsys):
    storage.refuse = r"PUT .*/one\.safetensors"
    assert extract(videos, S3, bundle) == 3
    written, _, failed = summary(capsys)
    assert written == 1
    assert list(failed) == ["one"]
    assert failed["one"].startswith("file-error: s3://bucket/features/tiny/one.safetensors")
    storage.refuse = None
    assert extract(videos, S3, bundle) == 0
    assert summary(capsys) == (1, 1, {})


def test_a_bucket_that_refuses_ends_the_run_with_a_reason(bundle, videos, storage, caplog):
    storage.refuse = "."
    with caplog.at_level(logging.ERROR):
        assert extract(videos, S3, bundle) == 1
    assert "s3://bucket/features/tiny" in caplog.text
    assert "Traceback" not in caplog.text


def test_tracks_come_back_by_either_layout(url, cache):
    ours = make_track(100, video_id="a")
    FeatureStore(url).write(ours)
    FeatureStore(url).write_bare(make_track(100, video_id="b"))
    store = FeatureStore(url)
    assert store.video_ids() == ["a", "b"]
    assert (store.has("a"), store.has("c"), store.has("../a")) == (True, False, False)
    found = store.read("a")
    assert torch.equal(found.features, ours.features)
    assert found.encoder == ours.encoder
    bare = store.read("b", num_frames=100)
    assert bare.encoder.name == "tiny"
    assert torch.equal(bare.end_s, ours.end_s)
    with pytest.raises(KeyError):
        store.read("c")
    store.write(make_track(40, video_id="c"))
    assert store.has("c")


def test_what_was_read_is_kept_until_it_is_written_again(storage, cache):
    FeatureStore(S3).write(make_track(100, video_id="a"))
    for _ in range(2):
        FeatureStore(S3).read("a")
    assert len(storage.gets(r"a\.safetensors")) == 1
    second = make_track(100, seed=1, video_id="a")
    FeatureStore(S3).write(second)
    assert torch.equal(FeatureStore(S3).read("a").features, second.features)
    assert len(storage.gets(r"a\.safetensors")) == 2


def test_a_store_reads_what_it_wrote_last(url, cache):
    store = FeatureStore(url)
    for seed in range(3):
        track = make_track(100, seed=seed, video_id="a")
        store.write(track)
        assert torch.equal(store.read("a").features, track.features)


def test_one_flipped_bit_of_a_stored_track_is_noticed(tmp_path, storage, cache):
    for store in (FeatureStore(tmp_path), FeatureStore(S3)):
        store.write(make_track(100, video_id="a"))
    storage.flip("features/tiny/a.safetensors")
    path = tmp_path / "a.safetensors"
    path.write_bytes(storage.content("features/tiny/a.safetensors"))
    for store in (FeatureStore(tmp_path), FeatureStore(S3)):
        with pytest.raises(FeatureFileInvalid, match=r"a\.safetensors: damaged"):
            store.read("a")


def test_a_pack_is_made_once_from_a_bucket_and_again_of_what_changed(tmp_path, storage, cache):
    for k in range(3):
        FeatureStore(S3).write(make_track(100, seed=k, video_id=f"v{k}"))
    videos = ["v0", "v1", "v2"]
    pack(FeatureStore(S3), videos, tmp_path / "packed")
    assert len(storage.gets("safetensors")) == 3
    storage.clear()
    pack(FeatureStore(S3), videos, tmp_path / "packed")
    assert storage.gets("safetensors") == []
    changed = make_track(100, seed=9, video_id="v1")
    FeatureStore(S3).write(changed)
    storage.clear()
    pack(FeatureStore(S3), videos, tmp_path / "packed")
    assert set(storage.gets("safetensors")) == {"GET /bucket/features/tiny/v1.safetensors"}
    packed = PackedFeatures.open(tmp_path / "packed")
    at, rows = packed.offset["v1"], packed.rows["v1"]
    assert torch.equal(packed.features[at : at + rows], changed.features)
    with pytest.raises(KeyError, match="v3"):
        pack(FeatureStore(S3), [*videos, "v3"], tmp_path / "packed")


def test_a_bucket_and_a_folder_are_compared(tmp_path, storage, capsys):
    for store in (FeatureStore(tmp_path), FeatureStore(S3)):
        store.write(make_track(100, video_id="a"))
    assert compare([str(tmp_path), S3]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["max_abs"] == 0


def test_no_bucket_is_an_empty_folder_and_a_refusal_is_not(storage):
    assert FeatureStore("s3://bucket/nothing").video_ids() == []
    storage.refuse = "."
    with pytest.raises(RemoteFailed):
        FeatureStore("s3://bucket/nothing").video_ids()
