"""The cache of a remote bundle: each part fetched once, checked, and again if damaged."""

import json
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256

import pytest

from tests.support.waiting import PATIENCE_S
from tests.weights.bundles import S3, stopped_at
from weights.__main__ import main
from weights.bundle import load_bundle
from weights.bundle.files import push_files, read_files
from weights.errors import BundleError, RemoteFailed
from weights.storage.cache import Cache


@pytest.mark.slow
def test_a_full_cache_asks_for_the_manifest_alone(folder, storage, cache):
    main(["push", str(folder), S3])
    load_bundle(S3)
    storage.clear()
    load_bundle(S3)
    assert storage.gets() == ["GET /bucket/bundles/tiny/manifest.json"]


def test_a_damaged_file_of_the_cache_is_found_and_fetched_again(folder, storage, cache, caplog):
    main(["push", str(folder), S3])
    load_bundle(S3)
    digest = load_bundle(folder).manifest.files["encoder.safetensors"]["sha256"]
    blob = cache.folder / "blobs" / digest
    blob.write_bytes(blob.read_bytes()[:-1])
    storage.clear()
    assert load_bundle(S3).sha256 == load_bundle(folder).sha256
    assert storage.gets("/parts/") == [f"GET /bucket/bundles/tiny/parts/{digest}"]
    assert f"{blob} is damaged" in caplog.text
    assert sha256(blob.read_bytes()).hexdigest() == digest


@pytest.mark.slow
def test_killed_in_a_download_it_leaves_only_whole_parts_and_goes_on(folder, storage, cache):
    main(["push", str(folder), S3])
    files = load_bundle(folder).manifest.files
    last = files["skill-ar.safetensors"]["sha256"]
    with stopped_at(storage, f"GET.*{last}", "verify", S3):
        pass
    blobs = [path for path in (cache.folder / "blobs").iterdir() if not path.suffix]
    assert 0 < len(blobs) < len(files)
    assert all(sha256(path.read_bytes()).hexdigest() == path.name for path in blobs)
    assert load_bundle(S3).sha256 == load_bundle(folder).sha256
    assert len(storage.gets("/parts/")) == len(files) - len(blobs)
    assert [path.name for path in (cache.folder / "blobs").glob("*.part")] == []


@pytest.mark.slow
def test_two_processes_on_one_empty_cache_fetch_each_part_once(folder, storage, cache):
    main(["push", str(folder), S3])
    storage.clear()
    command = [sys.executable, "-m", "weights", "verify", S3]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    said = [process.communicate(timeout=PATIENCE_S)[0] for process in both]
    assert said[0] == said[1]
    assert json.loads(said[0])["sha256"] == load_bundle(folder).sha256
    parts = storage.gets("/parts/")
    assert len(parts) == len(set(parts)) == len(load_bundle(folder).manifest.files)


@pytest.mark.parametrize("digest", ["../../secret", "A" * 64, "", None])
def test_a_manifest_cannot_name_files_outside_the_cache(folder, cache, digest):
    memory = "memory://bundles/sly"
    files = read_files(folder)
    values = json.loads(files.text)
    values["files"]["encoder.safetensors"]["sha256"] = digest
    push_files(replace(files, text=json.dumps(values).encode()), memory)
    with pytest.raises(BundleError, match=r"encoder\.safetensors"):
        load_bundle(memory)


def test_a_cache_that_cannot_be_written_is_named(folder, tmp_path):
    memory = "memory://bundles/kept"
    main(["push", str(folder), memory])
    (tmp_path / "file").write_text("")
    with pytest.raises(RemoteFailed, match="set EGOPACK_CACHE to another folder"):
        load_bundle(memory, cache=Cache(tmp_path / "file" / "cache"))
