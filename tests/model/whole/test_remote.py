"""Commands that take a bundle or features by URL say what they say of folders."""

import json

import pytest

from model.data.annotations import DataRoot
from model.data.tracks import load_tracks
from model.errors import FeaturesMissing
from model.evaluate import __main__ as evaluate
from model.score import __main__ as score
from tests.model.evaluate.test_main import world  # noqa: F401
from tests.model.support.challenge import make_challenge, options, read_files
from weights.__main__ import main as weights

S3 = "s3://bucket/bundle"
FEATURES = "s3://bucket/features/mine"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EGOPACK_CACHE", str(tmp_path / "cache"))


def upload(storage, folder):
    for path in folder.iterdir():
        storage.put(f"features/mine/{path.name}", path.read_bytes())


def test_challenge_files_are_the_same_to_the_byte(tmp_path, storage):
    root = make_challenge(tmp_path / "challenge")
    assert score.main(options(root, tmp_path / "local")) == 0
    upload(storage, root / "features")
    assert weights(["push", str(root / "bundle"), S3]) == 0
    there = options(root, tmp_path / "remote", "--bundle", S3, "--features", FEATURES)
    assert score.main(there) == 0
    assert read_files(tmp_path / "remote") == read_files(tmp_path / "local")


@pytest.mark.slow
@pytest.mark.parametrize("packed", [False, True])
def test_figures_are_the_same(world, tmp_path, storage, packed):  # noqa: F811
    upload(storage, world / "v1" / "mine")
    weights(["push", str(world / "bundle"), S3])
    figures = []
    for bundle, features in ((world / "bundle", "mine"), (S3, FEATURES)):
        out = tmp_path / "figures.json"
        command = ["--bundle", str(bundle), "--data", str(world), "--features", features]
        command += ["--packed-under", str(tmp_path / "packed")] if packed else []
        assert evaluate.main([*command, "--json", str(out)]) == 0
        figures.append(json.loads(out.read_text()))
    assert figures[0] == figures[1]


def test_a_video_without_features_is_named_with_the_url(world, storage):  # noqa: F811
    upload(storage, world / "v1" / "mine")
    with pytest.raises(FeaturesMissing, match=f"video nobody.* in {FEATURES}"):
        load_tracks(DataRoot(world), ["a", "nobody"], FEATURES, packed_under=None)
