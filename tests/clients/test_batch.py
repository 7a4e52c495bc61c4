import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

import clients.__main__ as command
from clients.batch import file_name, find_clips
from extract.dataset.manifest import VIDEO_SUFFIXES
from extract.decode.sniff import sniff_file
from extract.errors import VideoRejected
from tests.clients.support.stub import serving
from tests.extract.support.clips import write_numbered
from tests.support.waiting import PATIENCE_S, wait_for

MODEL = {"name": "m", "version": "1", "sha256": "a" * 64, "tasks": ["ar"]}


class Server:
    """Answers clips by their first word: ok, bad, broken, long, busy-once, slow."""

    def __init__(self, answer):
        self.answer = answer | {"model": {key: MODEL[key] for key in ("name", "version", "sha256")}}
        self.model, self.asked, self.keys = dict(MODEL), [], []
        self.pause_s = 0.0
        self._lock = threading.Lock()

    def __call__(self, handler):
        path = handler.path
        if path == "/v1/models":
            return self.say(handler, 200, {"models": [self.model]})
        if path.startswith("/v1/jobs/"):
            is_result = path.endswith("/result")
            job = {"id": "j", "state": "succeeded", "attempt": 1, "request": {}, "created_at": ""}
            job["input"] = {"kind": "video", "size_bytes": 1, "sha256": ""}
            return self.say(handler, 200, self.answer if is_result else job)
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        text = re.search(rb"clip: (\S+)", body).group(1).decode()
        with self._lock:
            self.asked.append(text)
            before = self.asked.count(text)
        time.sleep(self.pause_s)
        if handler.headers["Prefer"]:
            self.keys.append(handler.headers["Idempotency-Key"])
            job = {"id": "j", "state": "queued", "attempt": 0, "request": {}, "created_at": ""}
            job["input"] = {"kind": "video", "size_bytes": 1, "sha256": ""}
            return self.say(handler, 202, job)
        if text.startswith("bad"):
            return self.say(handler, 422, {"code": "too-short", "detail": f"{text} is short"})
        if text.startswith("broken"):
            return self.say(handler, 500, {"code": "internal", "detail": "oops"})
        if text.startswith("long"):
            return self.say(handler, 422, {"code": "too-long-for-sync", "detail": "long"})
        if text.startswith("busy") and before == 1:
            return self.say(handler, 429, {"code": "queue-full"}, Retry_After="0")
        return self.say(handler, 200, self.answer)

    def say(self, handler, status, body, **headers):
        handler.reply(status, json.dumps(body).encode(), **headers)


@pytest.fixture
def server(answer):
    made = Server(answer)
    with serving(made) as made.url:
        yield made


@pytest.fixture
def folder(tmp_path):
    def make(*names):
        for name in names:
            path = tmp_path / "clips" / f"{name}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"clip: {path.stem}\n")
        return tmp_path / "clips"

    return make


@pytest.fixture
def out(tmp_path):
    return tmp_path / "results"


def batch(server, clips, out, *flags):
    return command.main(["batch", str(clips), "--out", str(out), "--url", server.url, *flags])


def rows(out):
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def test_every_clip_gets_an_answer_or_a_reason(server, folder, out):
    clips = folder("ok1", "deep/er/ok2", "bad1", "broken1", "busy1", "Ünicode/ok3")
    (clips / "notes.txt").write_text("no clip")
    assert batch(server, clips, out) == 3
    found = {row["clip"]: row for row in rows(out)}
    assert list(found) == sorted(found)
    assert {name for name, row in found.items() if row["status"] == "ok"} == {
        "ok1.mp4",
        "deep/er/ok2.mp4",
        "busy1.mp4",
        "Ünicode/ok3.mp4",
    }
    assert found["bad1.mp4"] == {
        "clip": "bad1.mp4",
        "status": "error",
        "code": "too-short",
        "detail": "bad1 is short",
    }
    kept = json.loads((out / found["deep/er/ok2.mp4"]["answer"]).read_bytes())
    assert kept["id"] == server.answer["id"]
    assert not list(out.rglob("*.part"))


def test_what_is_done_is_not_asked_again_unless_it_failed_or_changed(server, folder, out):
    clips = folder("ok1", "ok2", "bad1")
    assert batch(server, clips, out) == 3
    first = (out / "results.jsonl").read_bytes()
    server.asked.clear()
    assert batch(server, clips, out) == 3
    assert server.asked == []
    assert batch(server, clips, out, "--retry-failed") == 3
    assert server.asked == ["bad1"]
    assert (out / "results.jsonl").read_bytes() == first

    server.asked.clear()
    for name, text in (("ok1", "ok1"), ("bad1", "ok9")):
        (clips / f"{name}.mp4").write_text(f"clip: {text}\n")
        later = time.time() + 60
        os.utime(clips / f"{name}.mp4", (later, later))
    assert batch(server, clips, out) == 0
    assert sorted(server.asked) == ["ok1", "ok9"]
    assert not list((out / "errors").iterdir())


def test_another_model_or_other_choices_are_refused(server, folder, out, capsys):
    clips = folder("ok1")
    assert batch(server, clips, out, "--task", "ar") == 0
    assert batch(server, clips, out, "--task", "lta") == 2
    assert "with options" in capsys.readouterr().err
    server.model["sha256"] = "b" * 64
    assert batch(server, clips, out, "--task", "ar") == 2
    assert "with model" in capsys.readouterr().err
    (out / "run.json").write_text("[]")
    assert batch(server, clips, out) == 2


def test_a_model_that_changes_on_the_way_ends_the_batch(server, folder, out):
    clips = folder("ok1", "ok2")
    server.answer["model"] = server.answer["model"] | {"sha256": "b" * 64}
    assert batch(server, clips, out) == 1
    assert rows(out) == []


def test_a_clip_too_long_to_wait_for_becomes_the_same_job_in_every_run(server, folder, out):
    clips = folder("long1")
    assert batch(server, clips, out) == 0
    (out / "answers" / "long1.mp4.json").unlink()
    assert batch(server, clips, out) == 0
    first, second = server.keys
    assert first == second


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_batch_that_is_ended_in_the_middle_goes_on_and_ends_the_same(
    server, folder, out, tmp_path, end
):
    clips = folder(*[f"ok{k}" for k in range(12)], *[f"bad{k}" for k in range(4)])
    assert batch(server, clips, tmp_path / "whole") == 3
    server.pause_s = 0.15
    server.asked.clear()
    words = ["-m", "clients", "batch", str(clips), "--out", str(out), "--url", server.url]
    child = subprocess.Popen([sys.executable, *words], stderr=subprocess.PIPE, text=True)
    wait_for(lambda: len(server.asked) >= 9, pause_s=0.01)
    child.send_signal(end)
    _, said = child.communicate(timeout=PATIENCE_S)
    if end == signal.SIGINT:
        assert child.returncode == 130
        assert said.splitlines()[-1] == "python -m clients: interrupted"
        assert 0 < len(rows(out)) < 16
    server.pause_s = 0.0
    done = sum(1 for kind in ("answers", "errors") for _ in (out / kind).glob("*.json"))
    server.asked.clear()
    assert batch(server, clips, out) == 3
    assert len(server.asked) == 16 - done
    assert (out / "results.jsonl").read_bytes() == (tmp_path / "whole/results.jsonl").read_bytes()


def test_a_server_that_is_gone_ends_the_batch_and_keeps_what_is_done(
    server, folder, out, monkeypatch
):
    clips = folder("ok1")
    assert batch(server, clips, out) == 0
    monkeypatch.setattr("clients.commands.batch.MAX_RETRIES", 0)
    server.url = "http://127.0.0.1:1"
    assert batch(server, clips, out) == 1
    assert len(rows(out)) == 1


def test_a_file_that_cannot_be_read_is_a_row_like_another(server, folder, out):
    clips = folder("ok1", "ok2")
    real = find_clips([clips])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "clients.commands.batch.find_clips",
            lambda _: real | {"z.mp4": clips / "gone.mp4"},
        )
        assert batch(server, clips, out) == 3
    assert [row.get("code") for row in rows(out)] == [None, None, "unreadable-file"]


ODD = [
    "ok Küche [1]", "ok-Ku\u0308che", os.fsdecode(b"ok-K\xfcche"), "ok\nline", "-ok", ".ok", "ok=b",
    "ok" + "x" * 249, "ok" + "ä" * 120, "ok.mp4.json/a", "ok", "ok-%d",
]  # fmt: skip


def test_clips_of_any_name_are_answered_kept_and_found_again(server, tmp_path, out):
    clips = tmp_path / "clips"
    for name in ODD:
        path = clips / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("clip: long\n" if "\udcfc" in name else "clip: ok\n")
    (clips / f"{'y' * 250}.mp4").write_text("clip: bad\n")
    assert batch(server, clips, out) == 3
    found = {row["clip"]: row for row in rows(out)}
    assert set(found) == {*(f"{name}.mp4" for name in ODD), "y" * 250 + ".mp4"}
    answers = {row["answer"] for row in found.values() if row["status"] == "ok"}
    assert len(answers) == len(ODD)
    for answer in answers:
        assert json.loads((out / answer).read_bytes())["id"] == server.answer["id"]
    assert found["ok.mp4"]["answer"] == "answers/ok.mp4.json"
    assert found["ok Küche [1].mp4"]["answer"] == "answers/ok Küche [1].mp4.json"
    server.asked.clear()
    assert batch(server, clips, out) == 3
    assert server.asked == []


def test_the_names_of_two_clips_never_lead_to_one_file():
    names = [
        "a.mp4",
        "a.mp4.json/b.mp4",
        "a.mp4.json=b.mp4",
        "x" * 251 + ".mp4",
        "x" * 250 + ".mp4",
    ]
    names += [file_name(name) for name in names[1:4:2]]
    assert len({file_name(name) for name in names}) == len(set(names))
    assert max(map(len, map(file_name, names))) < 120


def test_clips_are_found_by_suffix_in_folders_and_taken_as_named(tmp_path):
    for name in ("a/x.MP4", "a/sub/y.mkv", "a/z.txt", "b/x.MP4"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert list(find_clips([tmp_path / "a"])) == ["sub/y.mkv", "x.MP4"]
    assert list(find_clips([tmp_path / "a", tmp_path / "a/x.MP4"])) == ["sub/y.mkv", "x.MP4"]
    assert list(find_clips([tmp_path / "a/z.txt"])) == ["z.txt"]
    with pytest.raises(ValueError, match=r"both be called x\.MP4"):
        find_clips([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(FileNotFoundError):
        find_clips([tmp_path / "none"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no clip"):
        find_clips([tmp_path / "empty"])


FORMATS = {".mkv": "matroska", ".webm": "matroska", ".avi": "avi", ".mpg": "mpeg", ".ts": "mpegts"}


@pytest.mark.parametrize("suffix", [*VIDEO_SUFFIXES, ".mpeg", ".mpg", ".ts"])
def test_a_folder_gives_exactly_the_containers_that_the_server_accepts(tmp_path, suffix):
    container = "mpeg" if suffix == ".mpeg" else FORMATS.get(suffix, "mp4")
    clip = write_numbered(tmp_path / f"clip{suffix}", 8, format=container)
    (tmp_path / "other.mp4").touch()
    found = "clip" + suffix in find_clips([tmp_path])
    try:
        sniff_file(clip)
        is_accepted = True
    except VideoRejected:
        is_accepted = False
    assert found == is_accepted == (suffix in VIDEO_SUFFIXES)
