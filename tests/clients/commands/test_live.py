"""The command `live` against a server in this process."""

import json

import pytest

from clients.__main__ import EXIT_BUSY, EXIT_USAGE, main
from tests.clients.support.live import FakeServer, InThread
from tests.extract.support.clips import noisy_frames, write_clip

ACTION = {"event": "end", "start_s": 0.0, "end_s": 1.0, "verb": "take", "noun": "pan",
          "probability": 0.9}  # fmt: skip


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "a.mp4", noisy_frames(60, 64, 48))


def live(server, *words):
    with InThread(server) as there:
        return main(["live", "--url", there.url, *map(str, words)])


def test_a_file_is_played_and_its_answers_shown(clip, tmp_path, capsys):
    server = FakeServer()
    server.more = [("action", ACTION)]
    saved = tmp_path / "whole.json"
    assert live(server, clip, "--fast", "--task", "ar", "--every", 2, "--save", saved) == 0
    assert "take pan" in capsys.readouterr().out
    assert server.openings == [{"tasks": ["ar"], "every": 2, "skip": False, "input": "container"}]
    assert b"".join(server.taken)[:4] == b"\x1a\x45\xdf\xa3"  # Matroska
    assert json.loads(saved.read_text())["segments"][0]["ar"]["verb"][0]["label"] == "take"


@pytest.mark.parametrize(("kind", "first"), [("json", '{"type": "answer"'), ("vtt", "WEBVTT")])
def test_other_formats_go_to_a_file(clip, tmp_path, kind, first, capsys):
    out = tmp_path / "out"
    assert live(FakeServer(), clip, "--fast", "--format", kind, "--out", out) == 0
    assert out.read_text().startswith(first)
    assert capsys.readouterr().out == ""


def test_a_file_is_drawn_with_its_answers(clip, tmp_path):
    drawn = tmp_path / "drawn.mp4"
    assert live(FakeServer(), clip, "--fast", "--draw", drawn) == 0
    assert drawn.stat().st_size > 1000


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "give a source or --camera N"),
        (["a.mp4", "--camera", "0"], "give a source or --camera N"),
        (["-", "--draw", "x.mp4"], "--draw needs a file"),
        (["nowhere.mp4"], "nowhere.mp4 cannot be opened"),
    ],
)
def test_what_cannot_be_shown_is_said(words, said, capsys):
    assert main(["live", *words]) == EXIT_USAGE
    assert said in capsys.readouterr().err


def test_a_full_server_has_its_exit_status(clip, capsys):
    assert live(FakeServer(refuses=(429, "queue-full")), clip, "--fast") == EXIT_BUSY
    assert "not now" in capsys.readouterr().err
