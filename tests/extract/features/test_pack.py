import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from extract.errors import FeatureFileInvalid
from extract.features.pack import INDEX, LOCK, ROWS, PackedFeatures, pack
from extract.features.store import FeatureStore
from extract.features.track_check import FeatureCheck
from tests.support.factories import make_track

SIZES = {"a": 7, "b": 1, "c": 20, "d": 3}


def write_bare(folder, name, rows, dtype=torch.float32, width=5, seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed + rows)
    features = torch.randn(rows, width, generator=generator).to(dtype)
    torch.save(features, folder / f"{name}.pt")
    return features


@pytest.fixture
def source(tmp_path):
    for name, rows in SIZES.items():
        write_bare(tmp_path / "set", name, rows)
    return FeatureStore(tmp_path / "set")


def rows_in(path, name):
    packed = PackedFeatures.open(path)
    start = packed.offset[name]
    return packed.features[start : start + packed.rows[name]]


def assert_holds(path, store, names):
    for name in names:
        assert torch.equal(rows_in(path, name).float(), store.read(name).features), name


@pytest.mark.parametrize("shape", [(7, 5), (7, 1, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64, torch.bfloat16])
def test_released_files_come_back_as_they_were_and_half_stays_half(tmp_path, shape, dtype):
    folder = tmp_path / "omnivore"
    folder.mkdir()
    for name in "ab":
        torch.save(torch.randn(shape).to(dtype), folder / f"{name}.pt")
    store = FeatureStore(folder)
    pack(store, ["b", "a"], tmp_path / "packed")
    packed = PackedFeatures.open(tmp_path / "packed")
    assert packed.features.dtype == (torch.float16 if dtype is torch.float16 else torch.float32)
    assert packed.encoder.name == "omnivore"
    assert packed.offset == {"b": 0, "a": 7}
    assert packed.frames == {"a": 128, "b": 128}
    assert_holds(tmp_path / "packed", store, "ab")


def test_our_own_tracks_come_back_too(tmp_path):
    store = FeatureStore(tmp_path / "ours")
    tracks = [make_track(n, video_id=f"v{n}", seed=n) for n in (100, 39)]
    for track in tracks:
        store.write(track)
    pack(store, ["v39", "v100"], tmp_path / "packed")
    packed = PackedFeatures.open(tmp_path / "packed")
    assert packed.encoder == tracks[0].encoder
    assert packed.frames == {"v39": 39, "v100": 100}
    assert_holds(tmp_path / "packed", store, ["v39", "v100"])


def test_a_pack_is_mapped_and_not_read(tmp_path, source):
    pack(source, list(SIZES), tmp_path / "packed")
    packed = PackedFeatures.open(tmp_path / "packed")
    maps = Path("/proc/self/maps").read_text().splitlines()
    line = next(line for line in maps if str(tmp_path / "packed" / ROWS) in line)
    low, high = (int(part, 16) for part in line.split()[0].split("-"))
    assert low <= packed.features.data_ptr() < high


def test_packing_again_reads_nothing(tmp_path, source, monkeypatch):
    pack(source, list(SIZES), tmp_path / "packed")
    before = (tmp_path / "packed" / INDEX).stat().st_mtime_ns

    def fail(*_):
        raise AssertionError("a source was read")

    monkeypatch.setattr(FeatureStore, "read_rows", fail)
    monkeypatch.setattr(FeatureStore, "read_file", fail)
    pack(source, ["c", "a"], tmp_path / "packed")
    assert (tmp_path / "packed" / INDEX).stat().st_mtime_ns == before


def test_more_videos_go_behind_those_that_are_there(tmp_path, source):
    path = tmp_path / "packed"
    pack(source, ["c"], path)
    mapped = PackedFeatures.open(path)
    kept = mapped.features.clone()
    done = []
    pack(source, ["d", "c", "a", "d"], path, progress=lambda *step: done.append(step))
    assert done == [(1, 2), (2, 2)]
    assert_holds(path, source, "acd")
    assert torch.equal(mapped.features, kept)


@pytest.mark.parametrize("stop_after", [0, 1, 2, 3])
@pytest.mark.parametrize("commit_every", [1, 2])
def test_a_pack_that_was_cut_short_goes_on(tmp_path, source, monkeypatch, stop_after, commit_every):
    path, read, count = tmp_path / "packed", FeatureStore.read_rows, []
    monkeypatch.setattr("extract.features.pack.VIDEOS_PER_COMMIT", commit_every)

    def stopping(store, video):
        if len(count) == stop_after:
            raise KeyboardInterrupt
        count.append(video)
        return read(store, video)

    monkeypatch.setattr(FeatureStore, "read_rows", stopping)
    with pytest.raises(KeyboardInterrupt):
        pack(source, list(SIZES), path)
    with (path / ROWS).open("ab") as file:
        file.write(b"half a row")  # written, never committed
    committed = stop_after - stop_after % commit_every
    again = []
    monkeypatch.setattr(FeatureStore, "read_rows", lambda s, v: (again.append(v), read(s, v))[1])
    pack(source, list(SIZES), path)
    assert again == list(SIZES)[committed:]
    assert_holds(path, source, SIZES)
    assert (path / ROWS).stat().st_size == sum(SIZES.values()) * 5 * 4


def test_a_source_that_changed_is_packed_again_and_the_old_pack_stays_valid(tmp_path, source):
    path = tmp_path / "packed"
    pack(source, list(SIZES), path)
    mapped = PackedFeatures.open(path)
    old = mapped.features.clone()
    write_bare(source.root, "b", 4, seed=9)  # another size
    same_size = write_bare(source.root, "c", SIZES["c"], seed=9)
    pack(source, list(SIZES), path)
    assert_holds(path, source, SIZES)
    assert torch.equal(rows_in(path, "c"), same_size)
    assert torch.equal(mapped.features, old)
    for name, rows in SIZES.items():
        write_bare(source.root, name, rows, seed=17)
    pack(source, list(SIZES), path)  # nothing of the old is left
    assert_holds(path, source, SIZES)
    assert (path / ROWS).stat().st_size == sum(SIZES.values()) * 5 * 4
    assert torch.equal(mapped.features, old)


def test_a_source_written_again_with_the_same_content_is_not_packed_again(
    tmp_path, source, monkeypatch
):
    path = tmp_path / "packed"
    pack(source, list(SIZES), path)
    later = (source.root / "a.pt").stat().st_mtime_ns + 10**9
    os.utime(source.root / "a.pt", ns=(later, later))
    monkeypatch.setattr(FeatureStore, "read_rows", None)
    pack(source, list(SIZES), path)
    hashed = []
    monkeypatch.setattr(FeatureStore, "read_file", lambda _, name: hashed.append(name))
    pack(source, list(SIZES), path)  # the new time was noted
    assert hashed == []


def test_sources_that_are_gone_are_not_missed(tmp_path, source):
    path = tmp_path / "packed"
    pack(source, list(SIZES), path)
    kept = {name: source.read(name).features for name in SIZES}
    shutil.rmtree(source.root)
    pack(source, list(SIZES), path)
    for name, features in kept.items():
        assert torch.equal(rows_in(path, name), features)


def test_videos_without_a_file_are_all_named_and_nothing_is_written(tmp_path, source):
    with pytest.raises(KeyError) as caught:
        pack(source, ["a", "x", "b", "y"], tmp_path / "packed")
    assert caught.value.args == ("x", "y")
    assert [p.name for p in (tmp_path / "packed").iterdir()] == [LOCK]


@pytest.mark.parametrize("change", [{"width": 6}, {"dtype": torch.float16}])
def test_a_file_unlike_the_others_is_named(tmp_path, source, change):
    write_bare(source.root, "odd", 4, **change)
    with pytest.raises(FeatureFileInvalid, match=r"odd\.pt: expected what the others are"):
        pack(source, ["a", "odd"], tmp_path / "packed")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_refused(tmp_path, source, value):
    features = torch.zeros(4, 5)
    features[2, 3] = value
    torch.save(features, source.root / "a.pt")
    with pytest.raises(FeatureFileInvalid, match=r"a\.pt: holds values that are not finite"):
        pack(source, ["a"], tmp_path / "packed")


def test_the_length_of_a_video_is_checked_against_its_rows(tmp_path, source):
    lengths = {"a": 119, "b": 32, "c": 16 * 20 + 16 + 1}  # c: one window fewer than it should be
    pack(source, list(SIZES), tmp_path / "packed", check=FeatureCheck(lengths=lengths))
    frames = PackedFeatures.open(tmp_path / "packed").frames
    assert frames == {"a": 119, "b": 32, "c": 16 * 19 + 32, "d": 64}
    with pytest.raises(FeatureFileInvalid, match=r"c\.pt: 900 frames make 56 windows.*has 20"):
        pack(source, ["c"], tmp_path / "other", check=FeatureCheck(lengths={"c": 900}))


def test_what_is_no_pack_is_not_opened_and_is_made_again(tmp_path, source):
    path = tmp_path / "packed"
    with pytest.raises(FeatureFileInvalid, match="no packed features"):
        PackedFeatures.open(path)
    pack(source, list(SIZES), path)
    whole = (path / INDEX).read_text()
    for text in ("", "[]", "{}", whole[:-5], json.dumps({**json.loads(whole), "format": "x/9"})):
        (path / INDEX).write_text(text)
        with pytest.raises(FeatureFileInvalid, match="no packed features"):
            PackedFeatures.open(path)
        pack(source, list(SIZES), path)
        assert_holds(path, source, SIZES)


def test_a_pack_that_lost_rows_is_not_opened_and_is_made_again(tmp_path, source):
    path = tmp_path / "packed"
    pack(source, list(SIZES), path)
    with (path / ROWS).open("r+b") as file:
        file.truncate(100)
    with pytest.raises(FeatureFileInvalid, match="delete the folder to pack again"):
        PackedFeatures.open(path)
    pack(source, list(SIZES), path)
    assert_holds(path, source, SIZES)
