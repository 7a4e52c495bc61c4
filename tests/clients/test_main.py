import json

import httpx
import pytest

import clients.__main__ as command
from clients.client import EgoPackClient
from clients.errors import Busy, Rejected, ServerFault, Unreachable


@pytest.fixture
def clip_path(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"clip")
    return path


@pytest.fixture
def replies(monkeypatch):
    """Replaces the server by this function's reply."""

    def use(handler):
        def make(url, **options):
            return EgoPackClient(url, transport=httpx.MockTransport(handler), **options)

        monkeypatch.setattr(command, "EgoPackClient", make)

    return use


def test_an_answer_is_printed_to_read(replies, clip_path, answer, capsys):
    replies(lambda _: httpx.Response(200, json=answer))
    assert command.main(["predict", str(clip_path)]) == 0
    assert "cut carrot" in capsys.readouterr().out


def test_an_answer_is_printed_as_json(replies, clip_path, answer, capsys):
    replies(lambda _: httpx.Response(200, json=answer))
    assert command.main(["predict", str(clip_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["id"] == answer["id"]


def test_choices_reach_the_server(replies, clip_path, answer):
    def handler(request):
        body = request.read()
        choices = json.loads(body[body.index(b"{") : body.index(b"}") + 1])
        assert choices == {"tasks": ["ar", "lta"], "segments": [[0, 8], [8, 16]], "seed": 3}
        return httpx.Response(200, json=answer)

    replies(handler)
    flags = ["--task", "ar", "--task", "lta", "--segment", "0", "8", "--segment", "8", "16"]
    assert command.main(["predict", str(clip_path), *flags, "--seed", "3"]) == 0


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

    monkeypatch.setattr(command, "_predict", fail)
    assert command.main(["predict", "x.mp4"]) == status
    shown = capsys.readouterr()
    assert shown.out == ""
    assert str(error) in shown.err


def test_wrong_usage_is_explained(capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(["dance"])
    assert stop.value.code == 2
    assert "predict" in capsys.readouterr().err
