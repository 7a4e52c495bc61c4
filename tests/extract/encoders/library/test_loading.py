"""Where a library's encoder is looked for, and what is refused before a library is imported."""

import json
import logging
import shutil
import subprocess
import sys

import pytest
import torch

from extract.__main__ import main
from extract.encoders.load import encoder_spec, load_named_encoder
from extract.features.extractor import Extractor
from extract.features.store import FeatureStore
from extract.features.track import EncoderId
from tests.extract.encoders.library.models import card
from weights.errors import FetchFailed, RemoteFailed, TermsNotAccepted
from weights.published.hub import Snapshot

NOTHING = {"transformers": None, "timm": None, "huggingface_hub": None}


@pytest.fixture
def without_libraries(monkeypatch):
    for name in NOTHING:
        monkeypatch.setitem(sys.modules, name, None)


def make(folder, *files, **config):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "vjepa2"} | config))
    for name in files:
        (folder / name).write_bytes(b"")
    return folder


def test_code_of_a_repository_is_never_run(tmp_path, without_libraries):
    folder = make(tmp_path / "m", "model.safetensors", auto_map={"AutoModel": "modeling.Mine"})
    with pytest.raises(ValueError, match=r"config.json: 'auto_map' asks for code .* never run"):
        load_named_encoder(f"hf:{folder}")


def test_a_pickle_is_never_read(tmp_path, without_libraries):
    folder = make(tmp_path / "m", "pytorch_model.bin")
    with pytest.raises(ValueError, match="pytorch_model.bin is a pickle, which is never read"):
        load_named_encoder(f"hf:{folder}")
    with pytest.raises(ValueError, match=r"expected weights as \*.safetensors, found none: save"):
        load_named_encoder(f"timm:{make(tmp_path / 'n')}")


def test_a_configuration_that_is_no_json_is_named(tmp_path, without_libraries):
    folder = make(tmp_path / "m", "model.safetensors")
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match="config.json: not JSON"):
        load_named_encoder(f"hf:{folder}")


@pytest.mark.parametrize("licence", ["cc-by-nc-4.0", "other", None])
def test_terms_that_may_forbid_a_use_have_to_be_accepted(tmp_path, without_libraries, licence):
    folder = card(make(tmp_path / "m", "model.safetensors"), licence)
    with pytest.raises(TermsNotAccepted, match=r"--accept-license") as refused:
        load_named_encoder(f"hf:{folder}")
    assert (licence or "without a stated licence") in str(refused.value)
    with pytest.raises(Exception, match="needs transformers"):
        load_named_encoder(f"hf:{folder}", accept_license=True)


def test_the_licence_is_printed(tmp_path, without_libraries, caplog):
    folder = card(make(tmp_path / "m", "model.safetensors"), "Apache-2.0")
    with caplog.at_level(logging.INFO), pytest.raises(Exception, match="needs transformers"):
        load_named_encoder(f"hf:{folder}")
    assert "encoder m: licence apache-2.0" in caplog.text


def test_a_card_has_the_last_word_on_the_licence_of_a_published_name(tmp_path, without_libraries):
    folder = make(tmp_path / "vjepa2-l", "model.safetensors")
    with pytest.raises(Exception, match="needs transformers"):  # as the catalogue states it
        load_named_encoder("vjepa2-l", weights=tmp_path)
    card(folder, "cc-by-nc-4.0")
    with pytest.raises(TermsNotAccepted, match="vjepa2-l is licensed 'cc-by-nc-4.0'"):
        load_named_encoder("vjepa2-l", weights=tmp_path)


def test_what_is_nowhere_says_where_it_was_looked_for(tmp_path, without_libraries):
    with pytest.raises(FetchFailed, match=r"expected a folder, a repository .*, or weights in"):
        load_named_encoder("timm:test_resnet", weights=tmp_path)
    with pytest.raises(RemoteFailed, match="pip install"):
        load_named_encoder("vjepa2-l", weights=tmp_path)


@pytest.mark.slow(10)
def test_weights_in_a_folder_of_a_published_name_are_taken(vjepa2, tmp_path):
    shutil.copytree(vjepa2, tmp_path / "vjepa2-l")
    encoder = load_named_encoder("vjepa2-l,frame_step=1", weights=tmp_path)
    assert (encoder.name, encoder.contract.window_frames) == ("vjepa2-l", 8)
    named = load_named_encoder(f"hf:{vjepa2},frame_step=1")
    assert encoder.fingerprint == named.fingerprint
    tagged = load_named_encoder(f"hf:{vjepa2},frame_step=1", color="bt601")
    assert tagged.fingerprint != named.fingerprint
    assert tagged.origin == named.origin == {"licence": "mit"}


@pytest.mark.slow(10)
def test_repository_and_commit_of_a_hub_are_recorded(vjepa2, tmp_path, monkeypatch):
    asked = []

    def fetch(*of):
        asked.append(of)
        return Snapshot(vjepa2, "c" * 40)

    monkeypatch.setattr("extract.encoders.library.loading.fetch_snapshot", fetch)
    (tmp_path / "vjepa2-l").mkdir()  # of another revision than is asked for
    (tmp_path / "vjepa2-l" / "config.json").write_text("{}")
    for spec in ("vjepa2-l@v1", "hf:owner/name"):
        encoder = load_named_encoder(spec, weights=tmp_path)
        assert encoder_spec(encoder)["origin"] == {
            "repository": asked[-1][0],
            "revision": "c" * 40,
            "licence": "mit",
        }
    assert asked == [("facebook/vjepa2-vitl-fpc64-256", "v1"), ("owner/name", None)]


@pytest.mark.slow(10)
def test_no_library_is_imported_before_it_is_asked_for():
    imports = "import extract.__main__, model.train.__main__, server.__main__, sys"
    script = f"{imports}; assert not {set(NOTHING)} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)


@pytest.mark.slow(10)
def test_the_command_extracts_with_a_librarys_model(vjepa2, video, tmp_path, capsys):
    out = tmp_path / "features"
    spec = f"hf:{vjepa2},stride_frames=16"
    assert main([str(video), "--encoder", spec, "--out", str(out), "--workers", "1"]) == 0
    track = FeatureStore(out).read("clip")
    encoder = load_named_encoder(spec)
    assert track.encoder == EncoderId("vjepa2", encoder.fingerprint)
    expected = Extractor(encoder).from_file(video)
    torch.testing.assert_close(track.features, expected.features, rtol=0, atol=1e-5)
    report = json.loads((out / "report.json").read_text())
    assert report["encoder"] == encoder_spec(encoder)
    assert json.loads(capsys.readouterr().out)["windows"] == 6
    assert main([str(video), "--encoder", spec, "--out", str(out)]) == 0
    assert json.loads(capsys.readouterr().out)["skipped"] == 1


def test_the_command_says_what_is_missing(tmp_path, video, without_libraries, caplog):
    arguments = [str(video), "--out", str(tmp_path / "out"), "--encoder"]
    folder = card(make(tmp_path / "m", "model.safetensors"), "other")
    assert main([*arguments, f"hf:{folder}"]) == 1
    assert "add --accept-license" in caplog.text
    assert main([*arguments, f"hf:{folder}", "--accept-license"]) == 1
    assert "needs transformers, which is not installed" in caplog.text
    assert main([*arguments, f"hf:{folder},frames=3"]) == 1
    assert "'frames=3': expected fps, window_frames" in caplog.text


@pytest.mark.slow(10)
def test_the_command_runs_a_librarys_model_in_onnx_runtime(vjepa2, video, tmp_path):
    arguments = [str(video), "--encoder", f"hf:{vjepa2}", "--runtime", "onnx", "--out"]
    assert main([*arguments, str(tmp_path / "onnx")]) == 0
    found = FeatureStore(tmp_path / "onnx").read("clip")
    expected = Extractor(load_named_encoder(f"hf:{vjepa2}")).from_file(video)
    assert found.encoder == expected.encoder
    torch.testing.assert_close(found.features, expected.features, rtol=0, atol=1e-5)


@pytest.mark.slow(10)
def test_where_no_graph_can_be_made_torch_runs_unless_it_was_demanded(
    vjepa2, video, tmp_path, monkeypatch, caplog
):
    def fail(encoder):
        raise ArithmeticError("the graph differs")

    monkeypatch.setattr("extract.dataset.options.export_encoder", fail)
    for runtime, status in (("onnx", 1), ("auto", 0)):
        out = str(tmp_path / runtime)
        arguments = ["--encoder", f"hf:{vjepa2},stride_frames=80", "--runtime", runtime]
        assert main([str(video), *arguments, "--out", out]) == status
    assert "the graph differs; torch runs it" in caplog.text
