"""The server as a process, with the fake model: it starts, answers, and stops when told."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import httpx
import pytest

from server.__main__ import EXIT_FAILED, EXIT_USAGE, main
from tests.server.fakes import clip


@contextmanager
def running(**settings):
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.server.fakes", json.dumps(settings)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        url = re.search(r"http://\S+?(?=/docs)", line).group()
        with httpx.Client(base_url=url, trust_env=False, timeout=10) as http:
            until_s = time.monotonic() + 20
            while http.get("/readyz").status_code != 200:
                assert time.monotonic() < until_s
                time.sleep(0.02)
            yield process, http
    finally:
        process.kill()
        process.communicate()


def post(http, body):
    return http.post("/v1/predictions", content=body, headers={"content-type": "video/mp4"})


def test_it_says_where_it_listens_answers_and_stops_with_status_0():
    with running() as (process, http):
        assert post(http, clip()).status_code == 200
        for too_large in (b"x" * (12 << 20), iter([b"x" * 2**20] * 12)):  # declared, chunked
            assert post(http, too_large).json()["code"] == "body-too-large"
            assert post(http, clip()).status_code == 200
        slow = []
        thread = threading.Thread(target=lambda: slow.append(post(http, b"slow 0.5")))
        thread.start()
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        thread.join()
        assert slow[0].status_code == 200
        assert process.wait(10) == 0
        assert "Traceback" not in process.stderr.read()


def test_without_a_bundle_it_says_so_and_fails(tmp_path, capfd):
    flags = ["--bundle", str(tmp_path), "--port", "0", "--decode-workers", "1"]
    command = [sys.executable, "-m", "server", *flags]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == EXIT_FAILED
    assert "cannot serve" in ended.stderr


@pytest.mark.parametrize(
    ("flags", "word"),
    [(["--host", "0.0.0.0"], "API_KEY"), (["--port", "99999"], "--port")],
)
def test_bad_settings_are_named(flags, word, capsys, monkeypatch):
    monkeypatch.delenv("EGOPACK_API_KEY", raising=False)
    assert main(flags) == EXIT_USAGE
    assert word in capsys.readouterr().err


def test_unknown_flags_are_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--no-such-flag"])
    assert stop.value.code == EXIT_USAGE
    assert "--no-such-flag" in capsys.readouterr().err
