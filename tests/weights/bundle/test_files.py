"""A bundle behind a URL: pushed, read through the cache, and never believed without its hash."""

import json
import logging
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256

import fsspec
import pytest

from tests.support.s3 import SECRET
from tests.support.waiting import PATIENCE_S
from tests.weights.bundles import S3, stopped_at
from tests.weights.hub import TOKEN
from weights.__main__ import main
from weights.bundle import load_bundle, save_bundle
from weights.bundle.files import manifest_sha256, push_files, read_files
from weights.errors import BundleError, RemoteFailed
from weights.storage.cache import Cache

HUB = "hf://owner/tiny"


@pytest.fixture(params=["s3", "hub", "memory", "file", "path"])
def place(request, tmp_path):
    if request.param == "s3":
        request.getfixturevalue("storage")
        return S3
    if request.param == "hub":
        request.getfixturevalue("hub")
        return HUB
    if request.param == "memory":
        fsspec.filesystem("memory").store.clear()
        return "memory://bundles/tiny"
    target = tmp_path / "shared" / "tiny"
    return f"file://{target}" if request.param == "file" else str(target)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def next_version(folder):
    """The bundle with one part changed, saved beside it."""
    bundle = replace(load_bundle(folder), card="# another card\n")
    save_bundle(bundle, folder.with_name("next"))
    return folder.with_name("next")


def cut_off(monkeypatch):
    """Makes the storage in memory one that does not answer."""

    def fail(*_, **__):
        raise TimeoutError("nobody answers")

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.cat_file", fail)


@pytest.mark.slow
def test_what_is_pushed_is_pulled_byte_for_byte(folder, place, cache, tmp_path, capsys):
    assert main(["push", str(folder), place]) == 0
    assert main(["pull", place, str(tmp_path / "back")]) == 0
    assert contents(tmp_path / "back") == contents(folder)
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["sha256"] for line in said} == {load_bundle(folder).sha256}
    assert main(["verify", place]) == 0
    assert load_bundle(place).sha256 == manifest_sha256(place) == load_bundle(folder).sha256


def test_a_folder_that_other_tools_copied_is_read_too(folder, storage, cache):
    for name, data in contents(folder).items():
        storage.put(f"bundles/tiny/{name}", data)
    assert load_bundle(S3).sha256 == load_bundle(folder).sha256


def test_two_versions_lie_side_by_side_and_share_what_is_equal(folder, storage, cache):
    main(["push", str(folder), S3])
    old = read_files(S3)
    storage.clear()
    main(["push", str(next_version(folder)), S3])
    assert len(storage.puts("/parts/")) == 1  # the card
    storage.clear()
    assert load_bundle(S3).card == "# another card\n"
    assert len(storage.gets("/parts/")) == 1
    for facts in old.manifest.files.values():  # whoever holds the old manifest finds its parts
        digest = facts["sha256"]
        assert sha256(storage.content(f"bundles/tiny/parts/{digest}")).hexdigest() == digest


def test_one_flipped_byte_in_the_bucket_is_refused_by_name(folder, storage, cache, capsys):
    main(["push", str(folder), S3])
    facts = load_bundle(folder).manifest.files["skill-ar.safetensors"]
    storage.flip(f"bundles/tiny/parts/{facts['sha256']}")
    with pytest.raises(BundleError, match=r"skill-ar.*expected SHA-256.*found SHA-256") as caught:
        load_bundle(S3)
    assert caught.value.file == "skill-ar.safetensors"
    assert main(["verify", S3]) == main(["pull", S3, str(folder.with_name("back"))]) == 1
    assert not folder.with_name("back").exists()
    assert main(["push", str(folder), S3]) == 0  # of the right size: taken for what it should be
    storage.put(f"bundles/tiny/parts/{facts['sha256']}", b"short")
    assert main(["push", str(folder), S3]) == 0
    assert main(["verify", S3]) == 0


def test_without_the_storage_the_last_whole_bundle_is_used_and_said_to_be(
    folder, cache, caplog, monkeypatch
):
    memory = "memory://bundles/gone"
    main(["push", str(folder), memory])
    expected = load_bundle(memory).sha256

    cut_off(monkeypatch)
    with caplog.at_level(logging.WARNING):
        assert load_bundle(memory).sha256 == expected
    assert "TimeoutError: nobody answers; using the last bundle that was read" in caplog.text
    with pytest.raises(RemoteFailed, match="nobody answers"):
        manifest_sha256(memory)
    with pytest.raises(RemoteFailed, match="nobody answers"):
        load_bundle(memory, cache=Cache(cache.folder / "empty"))


def test_a_bundle_that_never_came_whole_is_not_gone_on_with(folder, cache, monkeypatch):
    memory = "memory://bundles/half"
    main(["push", str(folder), memory])
    expected = load_bundle(memory).sha256
    files = read_files(next_version(folder))
    push_files(replace(files, parts={}), memory)  # its manifest came first, by other tools
    with pytest.raises(BundleError, match=r"MODEL_CARD.md: expected a file.*no file"):
        load_bundle(memory)
    cut_off(monkeypatch)
    assert load_bundle(memory).sha256 == expected


@pytest.mark.slow
def test_killed_before_the_manifest_a_push_has_changed_nothing_for_readers(folder, storage, cache):
    main(["push", str(folder), S3])
    newer = next_version(folder)
    with stopped_at(storage, "PUT.*manifest.json", "push", str(newer), S3):
        assert load_bundle(S3).sha256 == load_bundle(folder).sha256
    assert load_bundle(S3).sha256 == load_bundle(folder).sha256
    storage.clear()
    assert main(["push", str(newer), S3]) == 0
    assert len(storage.puts()) == 1
    assert load_bundle(S3).sha256 == load_bundle(newer).sha256


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("memory://nothing/here", "no manifest.json in memory://nothing/here"),
        ("nosuch://bucket/here", "Protocol not known: nosuch"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(url, words, cache, capsys):
    assert main(["verify", url]) == 1
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_without_the_extra_it_names_the_extra(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(RemoteFailed, match=r'pip install "egopack-server\[scale\]"'):
        load_bundle("s3://another-bucket/bundle")


def test_a_refusal_shows_the_address_and_no_secret(folder, storage, cache, capsys):
    main(["push", str(folder), S3])
    storage.refuse = "manifest"
    with pytest.raises(RemoteFailed, match=r"s3://bucket/bundles/tiny/manifest\.json") as caught:
        load_bundle(S3)
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_pull_replaces_a_bundle_and_nothing_else(folder, cache, tmp_path, capsys):
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    assert main(["pull", str(folder), str(other)]) == 1
    assert "is no bundle" in capsys.readouterr().err
    assert contents(other) == {"thesis.txt": b"mine"}
    assert main(["pull", str(next_version(folder)), str(folder)]) == 0
    assert load_bundle(folder).card == "# another card\n"


@pytest.mark.slow
def test_a_plain_path_never_imports_fsspec(folder):
    code = f"""
import sys
from pathlib import Path
from weights.bundle import load_bundle
load_bundle(Path({str(folder)!r})); load_bundle({folder.as_uri()!r})
remote = {{"fsspec", "s3fs", "botocore", "huggingface_hub"}}
assert not remote & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE_S)


def on(hub, revision="main"):
    return hub.repositories["owner/tiny"].at(revision)


def test_a_push_to_a_hub_is_one_commit_that_a_pull_can_name(folder, hub, cache, tmp_path, capsys):
    assert main(["push", str(folder), HUB, "--private"]) == 0
    first = json.loads(capsys.readouterr().out)["bundle"]
    assert on(hub).keys() == {".gitattributes", "README.md", *contents(folder)}
    assert {name: on(hub)[name] for name in contents(folder)} == contents(folder)
    assert hub.repositories["owner/tiny"].private
    assert len([asked for asked in hub.asked if "/commit/" in asked]) == 1

    assert main(["push", str(next_version(folder)), HUB]) == 0
    assert load_bundle(HUB).card == "# another card\n"
    assert first == f"{HUB}@{first[-40:]}"
    assert main(["pull", first, str(tmp_path / "back")]) == 0
    assert contents(tmp_path / "back") == contents(folder)


def test_a_pushed_bundle_replaces_the_files_of_the_one_before_and_no_others(folder, hub, cache):
    main(["push", str(folder), HUB])
    hub.repositories["owner/tiny"].commit("main", on(hub) | {"figure.png": b"mine"})
    bundle = load_bundle(folder)
    smaller = replace(bundle, encoder_onnx=b"", manifest=replace(bundle.manifest, version="2"))
    save_bundle(smaller, folder)
    main(["push", str(folder), HUB])
    assert on(hub).keys() == {".gitattributes", "README.md", "figure.png", *contents(folder)}
    assert load_bundle(HUB).manifest.version == "2"


@pytest.mark.parametrize("step", ["validate-yaml", "preupload", "/commit/"])
def test_a_push_that_a_hub_refuses_half_way_leaves_the_bundle_before(
    folder, hub, cache, step, capsys
):
    main(["push", str(folder), HUB])
    hub.refuse = f"POST .*{step}"
    newer = str(next_version(folder))
    assert main(["push", newer, HUB]) == 1
    said = capsys.readouterr().err
    assert "refuses it (403): set HF_TOKEN" in said
    assert said.count("\n") == 1
    assert TOKEN not in said
    assert load_bundle(HUB).sha256 == load_bundle(folder).sha256
    hub.clear()
    assert main(["push", newer, HUB]) == 0
    assert load_bundle(HUB).card == "# another card\n"


def test_a_changed_byte_on_a_hub_is_refused_by_name(folder, hub, cache, capsys):
    main(["push", str(folder), HUB])
    files = on(hub)
    data = bytearray(files["skill-ar.safetensors"])
    data[-1] ^= 1
    hub.repositories["owner/tiny"].commit("main", files | {"skill-ar.safetensors": bytes(data)})
    assert main(["verify", HUB]) == 1
    assert "skill-ar.safetensors: expected SHA-256" in capsys.readouterr().err


def test_offline_the_cache_has_the_last_bundle_of_each_address(
    folder, hub, cache, monkeypatch, caplog, capsys
):
    main(["push", str(folder), f"{HUB}@old"])
    main(["push", str(next_version(folder)), HUB])
    expected = {place: load_bundle(place).sha256 for place in (HUB, f"{HUB}@old")}
    assert len(set(expected.values())) == 2
    hub.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for place, sha256_ in expected.items():
        assert load_bundle(place).sha256 == sha256_
    assert "HF_HUB_OFFLINE is set" in caplog.text
    with pytest.raises(RemoteFailed, match="HF_HUB_OFFLINE is set"):
        manifest_sha256(HUB)
    capsys.readouterr()
    assert main(["verify", "hf://owner/never-read"]) == 1
    assert "so only what was read before can be used" in capsys.readouterr().err
    assert hub.asked == []


def test_what_a_hub_no_longer_has_is_not_taken_from_the_cache(folder, hub, cache, capsys):
    main(["push", str(folder), HUB])
    load_bundle(HUB)
    del hub.repositories["owner/tiny"]
    capsys.readouterr()
    assert main(["pull", HUB, str(folder.with_name("back"))]) == 1
    said = capsys.readouterr().err
    assert "no such model repository" in said
    assert said.count("\n") == 1


def test_only_a_hub_has_private_repositories(folder, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["push", str(folder), S3, "--private"])
    assert "--private is for a hub; s3://bucket/bundles/tiny is none" in capsys.readouterr().err
