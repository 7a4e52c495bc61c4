import io
import json

import pytest
import torch

from weights.__main__ import main
from weights.published.fetch import RECORD_FILE

TENSORS = "omnivore-swinl.safetensors"


def saved(checkpoint) -> bytes:
    stream = io.BytesIO()
    torch.save(checkpoint, stream)
    return stream.getvalue()


@pytest.fixture
def origin(origin):
    origin.body = saved({"trunk": {"norm.weight": torch.ones(2)}})
    return origin


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "omnivore"


@pytest.fixture(autouse=True)
def _no_address_from_outside(monkeypatch):
    monkeypatch.delenv("EGOPACK_WEIGHTS_URL", raising=False)


def command(origin, folder, *more, name="omnivore-swinl"):
    return main(["fetch", name, "--url", origin.url, "--out", str(folder), *more])


def test_non_commercial_terms_are_shown_and_must_be_accepted(origin, folder, capsys):
    assert command(origin, folder) == 2
    said = capsys.readouterr()
    assert "CC BY-NC 4.0" in said.err
    assert "--accept-license" in said.err
    assert said.out == ""
    assert origin.requests == []
    assert not folder.exists()

    assert command(origin, folder, "--accept-license") == 0
    said = capsys.readouterr()
    assert "CC BY-NC 4.0" in said.err
    assert json.loads(said.out)["tensors"]["file"] == TENSORS


def test_other_terms_are_only_shown(origin, folder, capsys):
    origin.body = saved({"model_state": {"a": torch.ones(2)}})
    assert command(origin, folder, name="slowfast-r101") == 0
    assert "Apache-2.0" in capsys.readouterr().err
    assert origin.paths == ["/SLOWFAST_8x8_R101.pyth"]


def test_the_variable_gives_the_address_and_the_flag_overrules_it(origin, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EGOPACK_WEIGHTS_URL", f"{origin.url}mirror/file")
    assert main(["fetch", "omnivore-swinl", "--accept-license"]) == 0
    written = (tmp_path / "work/weights/omnivore-swinl").iterdir()
    assert {path.name for path in written} == {TENSORS, RECORD_FILE}
    assert command(origin, tmp_path / "other", "--accept-license") == 0
    assert origin.paths == ["/mirror/file", "/swinL_In21k_checkpoint.torch"]


def test_a_failure_is_told_in_a_line_and_by_the_status(origin, folder, capsys):
    origin.statuses = [404]
    assert command(origin, folder, "--accept-license") == 1
    assert "404 Not Found. If the file has moved" in capsys.readouterr().err


def test_an_interrupted_run_says_how_to_go_on(origin, folder, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("weights.__main__.fetch", interrupted)
    assert command(origin, folder, "--accept-license") == 1
    assert "run again to go on" in capsys.readouterr().err


def test_the_list_names_every_backbone_with_its_terms(capsys):
    assert main(["fetch", "--list"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["name"] for row in rows] == ["omnivore-swinl", "slowfast-r101"]
    assert all(row["url"].startswith("https://") and row["licence"] for row in rows)


@pytest.mark.parametrize("arguments", [[], ["resnet"]])
def test_no_name_or_an_unknown_one_is_a_wrong_argument(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        main(["fetch", *arguments])
    assert caught.value.code == 2
    assert "omnivore-swinl" in capsys.readouterr().err


@pytest.mark.slow
def test_the_environment_names_the_place_for_all_backbones(origin, tmp_path, monkeypatch):
    monkeypatch.setenv("EGOPACK_WEIGHTS", str(tmp_path / "all"))
    assert main(["fetch", "omnivore-swinl", "--url", origin.url, "--accept-license"]) == 0
    assert (tmp_path / "all" / "omnivore-swinl" / TENSORS).is_file()
