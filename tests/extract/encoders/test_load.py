import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from extract.__main__ import main
from extract.encoders.load import LOADERS, encoder_from_spec, encoder_spec, load_named_encoder
from extract.features.store import FeatureStore
from tests.extract.support.clips import write_numbered
from tests.support.factories import make_bundle
from tests.support.published import DIMS, fetch_small, use_small
from weights.bundle import save_bundle
from weights.errors import BundleMissing, FetchFailed, HashDiffers, WeightsError
from weights.published.catalogue import PUBLISHED


@pytest.fixture
def fetched(tmp_path, monkeypatch):
    use_small(monkeypatch)
    return fetch_small(tmp_path / "weights")


@pytest.mark.parametrize(("name", "dim"), DIMS.items())
def test_a_fetched_backbone_is_an_encoder_under_its_name(fetched, name, dim):
    encoder = load_named_encoder(name, weights=fetched)
    assert (encoder.name, encoder.dim) == (name, dim)
    assert encoder.contract.color == "bt601"
    kept = load_file(fetched / name / f"{name}.safetensors")
    assert encoder.fingerprint == LOADERS[name](kept).fingerprint


def test_every_published_backbone_has_a_loader():
    assert LOADERS.keys() == PUBLISHED.keys()


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("omnivore-swinl", "python -m weights fetch omnivore-swinl --accept-license"),
        ("slowfast-r101", "python -m weights fetch slowfast-r101 --out"),
    ],
)
def test_a_missing_backbone_names_the_command_that_fetches_it(tmp_path, name, command):
    with pytest.raises(FetchFailed, match=command) as raised:
        load_named_encoder(name, weights=tmp_path)
    assert str(tmp_path / name) in str(raised.value)


def test_a_file_without_its_record_is_not_trusted(fetched):
    (fetched / "omnivore-swinl" / "fetched.json").unlink()
    with pytest.raises(FetchFailed, match="python -m weights fetch"):
        load_named_encoder("omnivore-swinl", weights=fetched)


def test_a_changed_file_is_refused(fetched):
    path = fetched / "omnivore-swinl" / "omnivore-swinl.safetensors"
    tensors = load_file(path)
    tensors["norm.bias"][0] += 1
    save_file(tensors, path)
    with pytest.raises(HashDiffers, match="remove the file and fetch it again"):
        load_named_encoder("omnivore-swinl", weights=fetched)


def test_the_folder_of_another_backbone_is_refused(fetched):
    folder = fetched / "omnivore-swinl"
    record = json.loads((folder / "fetched.json").read_text())
    (folder / "fetched.json").write_text(json.dumps(record | {"name": "other"}))
    with pytest.raises(FetchFailed, match="other"):
        load_named_encoder("omnivore-swinl", weights=fetched)


def test_a_bundles_folder_names_its_encoder(tmp_path):
    made = save_bundle(make_bundle(), tmp_path / "bundle")
    encoder = load_named_encoder(str(tmp_path / "bundle"))
    assert encoder.name == "tiny"
    assert encoder.fingerprint == made.manifest.encoder["fingerprint"]


def test_a_bundle_of_features_holds_none(tmp_path):
    made = make_bundle()
    manifest = replace(made.manifest, encoder={"kind": "features", "name": "set"})
    save_bundle(replace(made, manifest=manifest, encoder={}), tmp_path / "bundle")
    with pytest.raises(ValueError, match="holds no encoder"):
        load_named_encoder(str(tmp_path / "bundle"))


def test_what_is_neither_a_name_nor_a_folder_lists_the_names(tmp_path):
    with pytest.raises(BundleMissing, match="omnivore-swinl, slowfast-r101"):
        load_named_encoder("omnivore")
    with pytest.raises(WeightsError):
        load_named_encoder(str(tmp_path))


def test_another_colour_matrix_is_another_encoder(fetched):
    published = load_named_encoder("omnivore-swinl", weights=fetched)
    tagged = load_named_encoder("omnivore-swinl", weights=fetched, color="tagged")
    same = load_named_encoder("omnivore-swinl", weights=fetched, color="bt601")
    assert (published.contract.color, tagged.contract.color) == ("bt601", "tagged")
    assert replace(tagged.contract, color="bt601") == published.contract
    assert same.fingerprint == published.fingerprint != tagged.fingerprint


@pytest.mark.slow
def test_the_command_finds_a_name_where_the_environment_says(
    fetched, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("EGOPACK_WEIGHTS", str(fetched))
    clip = write_numbered(tmp_path / "clip.mp4", 33)
    asked = [str(clip), "--encoder", "slowfast-r101", "--format", "pt", "--device", "cpu"]
    assert main([*asked, "--out", str(tmp_path / "features")]) == 0
    rows = torch.load(tmp_path / "features" / "clip.pt", weights_only=True)
    assert rows.shape == (2, 288)

    tagged = [*asked, "--color", "tagged", "--format", "safetensors"]
    assert main([*tagged, "--out", str(tmp_path / "tagged")]) == 0
    made_by = FeatureStore(tmp_path / "tagged").read("clip").encoder
    assert made_by.name == "slowfast-r101"
    assert made_by.fingerprint != load_named_encoder("slowfast-r101", weights=fetched).fingerprint


def test_the_command_says_how_to_fetch_what_is_missing(tmp_path, caplog):
    clip = write_numbered(tmp_path / "clip.mp4", 33)
    asked = [str(clip), "--encoder", "omnivore-swinl", "--weights", str(tmp_path / "none")]
    assert main([*asked, "--out", str(tmp_path / "features")]) == 1
    assert "python -m weights fetch omnivore-swinl --accept-license" in caplog.text
    assert not (tmp_path / "features").exists()


def test_an_encoder_is_rebuilt_from_its_description(tiny_encoder):
    rebuilt = encoder_from_spec(encoder_spec(tiny_encoder), tiny_encoder.state_dict())
    windows = torch.randint(0, 256, (1, 16, 48, 64, 3), dtype=torch.uint8)
    assert rebuilt.name == "tiny"
    assert rebuilt.contract == tiny_encoder.contract
    assert torch.equal(rebuilt.encode(windows), tiny_encoder.encode(windows))


def test_tensors_that_are_not_the_described_ones_are_refused(tiny_encoder):
    spec = encoder_spec(tiny_encoder)
    tensors = tiny_encoder.state_dict()
    tensors["norm.bias"] = tensors["norm.bias"] + 1
    with pytest.raises(ValueError, match="fingerprint"):
        encoder_from_spec(spec, tensors)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"kind": "resnet"}, "resnet"), ({"config": {"patch": [1]}}, "trunk keys")],
)
def test_descriptions_of_unknown_encoders_are_refused(tiny_encoder, change, message):
    with pytest.raises(ValueError, match=message):
        encoder_from_spec(encoder_spec(tiny_encoder) | change, tiny_encoder.state_dict())


def test_a_description_that_lacks_something_is_refused(tiny_encoder):
    spec = encoder_spec(tiny_encoder)
    del spec["contract"]
    with pytest.raises(ValueError, match="lacks contract"):
        encoder_from_spec(spec, tiny_encoder.state_dict())
