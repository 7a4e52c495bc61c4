"""A server whose bundle lies elsewhere: it answers as from a folder, and follows what is there."""

import json
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256

import pytest

from extract.encoders.load import load_named_encoder
from server.__main__ import EXIT_FAILED, EXIT_USAGE, main
from server.engine.bundle_loader import load_predictor
from server.engine.health import CANARY
from server.schemas.metadata import ModelFacts
from server.settings.settings import Settings
from tests.server.api.test_serve import counted, post, started
from tests.server.support.fakes import make_settings
from tests.support.s3 import SECRET
from tests.support.waiting import PATIENCE_S, wait_for
from weights import SHIPPED_BUNDLE
from weights.bundle import load_bundle
from weights.bundle.files import manifest_sha256, push_files, read_files

S3 = "s3://bucket/bundles/tabletop"
HUB = "hf://owner/tabletop"
FLAGS = ("-m", "server", "--port", "0", "--decode-workers", "1", "--runtime", "torch")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EGOPACK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("EGOPACK_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "cache"


def with_card(files, card, version):
    """The bundle with another card, as another version."""
    values = json.loads(files.text)
    values["version"] = version
    values["files"]["MODEL_CARD.md"] = {"sha256": sha256(card).hexdigest(), "bytes": len(card)}
    text = json.dumps(values).encode()
    manifest = replace(files.manifest, version=version, files=values["files"])
    return replace(files, text=text, manifest=manifest, parts=files.parts | {"MODEL_CARD.md": card})


def answer_of(http):
    """What was said of the canary, without what differs from one request to the next."""
    said = post(http, CANARY.read_bytes()).json()
    return {key: value for key, value in said.items() if key not in ("id", "timings")}


def version(http):
    return http.get("/v1/models").json()["models"][0]["version"]


@pytest.mark.slow
@pytest.mark.service
def test_it_answers_as_from_a_folder_and_follows_the_bucket(storage, cache):
    files = read_files(SHIPPED_BUNDLE)
    push_files(files, S3)
    with started(*FLAGS) as (_, http):
        expected = answer_of(http)
    with started(*FLAGS, "--bundle", S3, "--reload-every-s", "0.2") as (_, http):
        assert answer_of(http) == expected
        storage.clear()

        bad = with_card(files, b"not what its hash says", "bad")
        push_files(replace(bad, parts=bad.parts | {"MODEL_CARD.md": b"NOT what its hash says"}), S3)
        wait_for(lambda: counted(http, 'egopack_reloads_total{result="failed"}') >= 1)
        assert answer_of(http) == expected
        assert version(http) == "1"

        push_files(with_card(files, b"a better card", "2"), S3)
        wait_for(lambda: version(http) == "2")
        assert answer_of(http)["segments"] == expected["segments"]
        assert counted(http, 'egopack_reloads_total{result="ok"}') == 1
        kept = {facts["sha256"] for facts in files.manifest.files.values()}
        assert not kept & {asked.rpartition("/")[2] for asked in storage.gets("/parts/")}


@pytest.mark.slow
@pytest.mark.service
def test_one_flipped_byte_in_the_bucket_and_it_does_not_start(storage, cache):
    files = read_files(SHIPPED_BUNDLE)
    push_files(files, S3)
    digest = files.manifest.files["skill-lta.safetensors"]["sha256"]
    storage.flip(f"bundles/tabletop/parts/{digest}")
    command = [sys.executable, *FLAGS, "--bundle", S3]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert ended.returncode == EXIT_FAILED
    assert f"skill-lta.safetensors: expected SHA-256 {digest}" in ended.stderr
    assert SECRET not in ended.stdout + ended.stderr


@pytest.mark.slow(3)
def test_a_repository_of_a_hub_is_served_and_offline_it_still_is(hub, cache, monkeypatch):
    files = read_files(SHIPPED_BUNDLE)
    pinned = push_files(files, HUB)
    expected = sha256(files.text).hexdigest()
    settings = make_settings(bundle=pinned, runtime="torch", cache=cache)
    assert ModelFacts.of(load_predictor(settings)).sha256 == expected
    newer = with_card(files, b"a better card", "2")
    push_files(newer, HUB)
    assert manifest_sha256(pinned) == expected
    assert manifest_sha256(HUB) == sha256(newer.text).hexdigest()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert load_bundle(pinned).sha256 == expected
    encoder = load_named_encoder(pinned)
    assert encoder.fingerprint == files.manifest.encoder["fingerprint"]


def test_a_url_comes_by_flag_and_by_variable_and_a_path_stays_a_path(monkeypatch):
    assert Settings(bundle=S3).bundle == S3
    monkeypatch.setenv("EGOPACK_BUNDLE", S3 + "/")
    assert Settings().bundle == S3
    monkeypatch.setenv("EGOPACK_BUNDLE", str(SHIPPED_BUNDLE))
    assert Settings().bundle == SHIPPED_BUNDLE


def test_a_password_in_the_address_is_refused_and_not_shown(capsys):
    assert main(["--bundle", "ftp://me:hunter2@host/bundle"]) == EXIT_USAGE
    said = capsys.readouterr().err
    assert "--bundle" in said
    assert "password" in said
    assert "hunter2" not in said
