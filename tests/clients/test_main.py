import json
import os

import httpx
import pytest

import clients.__main__ as command
from clients.commands import predict
from clients.errors import Busy, Rejected, ServerFault, Unreachable
from tests.extract.support.clips import write_numbered


def test_an_answer_is_printed_to_read(replies, clip_path, answer, capsys):
    replies(lambda _: httpx.Response(200, json=answer))
    assert command.main(["predict", str(clip_path)]) == 0
    assert "cut carrot" in capsys.readouterr().out


def test_an_answer_is_printed_as_json(replies, clip_path, answer, capsys):
    replies(lambda _: httpx.Response(200, json=answer))
    assert command.main(["predict", str(clip_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == answer["id"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Rejected("no", errors=(("/tasks", "what"),), code="x", request_id="r"), 3),
        (Busy("full"), 4),
        (ServerFault("oops"), 1),
        (Unreachable("nobody"), 1),
        (FileNotFoundError("gone"), 2),
    ],
)
def test_the_exit_status_says_what_went_wrong(monkeypatch, capsys, error, status):
    def fail(_):
        raise error

    monkeypatch.setattr(predict, "run", fail)
    assert command.main(["predict", "x.mp4"]) == status
    shown = capsys.readouterr()
    assert shown.out == ""
    assert str(error) in shown.err


def test_wrong_usage_is_explained(capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(["dance"])
    assert stop.value.code == 2
    assert "predict" in capsys.readouterr().err


def test_a_kept_answer_is_drawn_and_exported_without_a_server(
    clip_of_two_seconds, answer, tmp_path, capsys
):
    kept, drawn = tmp_path / "answer.json", tmp_path / "drawn.mp4"
    kept.write_text(json.dumps(answer))
    flags = [str(clip_of_two_seconds), "--answer", str(kept)]
    assert command.main(["render", *flags, "--out", str(drawn)]) == 0
    assert drawn.stat().st_size > 1000
    capsys.readouterr()
    assert command.main(["export", "vtt", *flags]) == 0
    assert capsys.readouterr().out.startswith("WEBVTT")
    for name in ("csv", "label-studio", "label-studio-config", "fiftyone"):
        assert command.main(["export", name, *flags, "--out", str(tmp_path / name)]) == 0
    (task,) = json.loads((tmp_path / "label-studio").read_text())
    assert task["data"]["video"] == str(clip_of_two_seconds)


def test_a_clip_is_never_drawn_over(clip_of_two_seconds, answer, tmp_path, capsys):
    before = clip_of_two_seconds.read_bytes()
    clip = str(clip_of_two_seconds)
    assert command.main(["render", clip, "--answer", clip, "--out", clip]) == 2
    assert "the clip itself" in capsys.readouterr().err
    assert command.main(["export", "csv", clip, "--answer", clip]) == 2
    assert "holds no answer" in capsys.readouterr().err
    assert clip_of_two_seconds.read_bytes() == before


@pytest.fixture
def clip_of_two_seconds(tmp_path):
    return write_numbered(tmp_path / "two.mp4", 60)


@pytest.mark.parametrize("name", ["csv", "vtt", "label-studio", "fiftyone"])
def test_a_clip_whose_name_is_no_utf_8_is_exported_too(answer, tmp_path, capsysbinary, name):
    kept = tmp_path / "answer.json"
    kept.write_text(json.dumps(answer))
    asked = ["export", name, os.fsdecode(b"K\xfcche.mp4"), "--answer", str(kept)]
    assert command.main([*asked, "--out", str(tmp_path / "out")]) == 0
    assert rb"K\udcfcche.mp4" in (tmp_path / "out").read_bytes()
    assert command.main(asked) == 0
    assert capsysbinary.readouterr().out == (tmp_path / "out").read_bytes()
