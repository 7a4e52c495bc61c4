import json
import pickle
from dataclasses import replace

import pytest
import torch

from tests.weights.bundles import make_bundle
from weights.__main__ import main
from weights.bundle import fingerprint, load_bundle, save_bundle
from weights.errors import BundleError


def test_a_bundle_comes_back_as_it_was_saved(folder):
    loaded, original = load_bundle(folder), make_bundle()
    assert loaded.card == original.card
    assert loaded.encoder_onnx == original.encoder_onnx
    assert loaded.manifest.label_spaces == original.manifest.label_spaces
    for part in ("encoder", "backpack"):
        assert fingerprint(getattr(loaded, part)) == fingerprint(getattr(original, part))
    assert torch.equal(loaded.backbones["shared"]["w"], torch.ones(2, 3))
    assert torch.equal(loaded.skills["ar"]["w"], torch.zeros(5))


def test_saving_again_replaces_the_bundle_and_leaves_nothing_behind(folder):
    first = load_bundle(folder).sha256
    assert save_bundle(make_bundle(), folder).sha256 == first
    assert [p.name for p in folder.parent.iterdir()] == ["bundle"]


@pytest.mark.parametrize(
    "name",
    [
        "encoder.safetensors",
        "encoder.onnx",
        "backbone-shared.safetensors",
        "skill-ar.safetensors",
        "backpack.safetensors",
    ],
)
def test_one_flipped_byte_is_refused_by_name(folder, name):
    path = folder / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    assert caught.value.file == path.name
    assert "SHA-256" in caught.value.expected


def test_a_bundle_without_a_graph_keeps_loading_and_one_that_is_not_listed_is_not_read(folder):
    save_bundle(replace(make_bundle(), encoder_onnx=b""), folder)
    assert not (folder / "encoder.onnx").exists()
    (folder / "encoder.onnx").write_bytes(b"from elsewhere")
    assert load_bundle(folder).encoder_onnx == b""


def test_a_missing_file_is_refused_by_name(folder):
    (folder / "skill-ar.safetensors").unlink()
    with pytest.raises(BundleError, match=r"skill-ar\.safetensors.*no file"):
        load_bundle(folder)


def test_a_foreign_pickle_is_refused_even_with_the_right_hash(folder):
    class Evil:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was run",))

    import hashlib

    data = pickle.dumps(Evil())
    (folder / "encoder.safetensors").write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["encoder.safetensors"]["sha256"] = hashlib.sha256(data).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match="expected safetensors"):
        load_bundle(folder)


def test_the_fingerprint_sees_every_bit_and_no_order():
    a = {"x": torch.zeros(2), "y": torch.ones(2)}
    assert fingerprint(a) == fingerprint(dict(reversed(a.items())))
    assert fingerprint(a) != fingerprint({**a, "x": torch.tensor([0.0, 1e-30])})
    assert fingerprint(a) != fingerprint(a, "another fact")


def test_verify_reports_soundness_and_damage(folder, capsys):
    assert main(["verify", str(folder)]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "tiny"
    (folder / "encoder.safetensors").write_bytes(b"")
    assert main(["verify", str(folder)]) == 1
    assert "encoder.safetensors" in capsys.readouterr().err
