"""The server as a process, with the fake model: it starts, answers, and stops when told."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import httpx
import pytest

from server.__main__ import EXIT_FAILED, EXIT_USAGE, main
from server.api.serve import EXIT_SIGNALLED
from server.engine.health import CANARY
from tests.server.support.fakes import clip
from tests.support.waiting import PATIENCE_S, wait_for
from weights import SHIPPED_BUNDLE

pytestmark = pytest.mark.service


def running(**settings):
    return started("-m", "tests.server.support.fakes", json.dumps(settings))


@contextmanager
def started(*command):
    process = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        url = re.search(r"http://\S+?(?=/\s)", line).group()
        with httpx.Client(base_url=url, trust_env=False, timeout=PATIENCE_S) as http:
            wait_for(lambda: http.get("/readyz").status_code == 200)
            yield process, http
    finally:
        process.kill()
        process.communicate()


@contextmanager
def busy(http, seconds):
    """A clip that takes so long is being answered; yields what will hold the answer."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(post(http, f"slow {seconds}".encode())))
    thread.start()
    wait_for(lambda: counted(http, "egopack_inflight_requests ") == 1)
    yield answers
    thread.join()


def counted(http, line):
    """The value on one line of /metrics."""
    page = http.get("/metrics").text
    return sum(float(found.split()[-1]) for found in page.splitlines() if found.startswith(line))


def post(http, body):
    return http.post("/v1/predictions", content=body, headers={"content-type": "video/mp4"})


def test_it_says_where_it_listens_answers_and_stops_with_status_0():
    with running() as (process, http):
        assert post(http, clip()).status_code == 200
        for too_large in (b"x" * (12 << 20), iter([b"x" * 2**20] * 12)):  # declared, chunked
            assert post(http, too_large).json()["code"] == "body-too-large"
            assert post(http, clip()).status_code == 200
        slow = []
        thread = threading.Thread(target=lambda: slow.append(post(http, b"slow 1")))
        thread.start()
        wait_for(lambda: counted(http, "egopack_inflight_requests ") == 1)
        process.send_signal(signal.SIGTERM)
        thread.join()
        assert slow[0].status_code == 200
        assert process.wait(PATIENCE_S) == 0
        assert "Traceback" not in process.stderr.read()


def test_told_to_stop_it_first_turns_readiness_off_then_refuses_then_ends():
    with running(drain_delay_s=3) as (process, http), busy(http, 10) as answers:
        process.send_signal(signal.SIGTERM)
        wait_for(lambda: http.get("/readyz").status_code == 503)
        assert post(http, clip()).status_code == 200  # balancers have not noticed yet
        wait_for(lambda: post(http, clip()).status_code == 503)
        refused = post(http, clip())
        assert (refused.json()["code"], refused.headers["connection"]) == ("draining", "close")
        assert not answers
        assert process.wait(PATIENCE_S) == 0
    assert answers[0].status_code == 200


def cut_off(http, seconds):
    """Starts a thread whose clip takes so long; returns it and the list its status will be in."""
    statuses = []

    def ask():
        try:
            statuses.append(post(http, f"slow {seconds}".encode()).status_code)
        except httpx.HTTPError:
            statuses.append(None)

    thread = threading.Thread(target=ask)
    thread.start()
    wait_for(lambda: counted(http, "egopack_inflight_requests ") == 1)
    return thread, statuses


def test_what_takes_longer_than_the_time_to_stop_is_not_waited_for():
    with running(shutdown_timeout_s=0) as (process, http):
        thread, statuses = cut_off(http, 10)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
        thread.join()
    assert statuses != [200]


def test_told_twice_it_ends_at_once_and_leaves_no_clip_behind(tmp_path):
    with running(drain_delay_s=60, spool_dir=str(tmp_path / "spool")) as (process, http):
        thread, statuses = cut_off(http, 30)
        process.send_signal(signal.SIGTERM)
        wait_for(lambda: http.get("/readyz").status_code == 503)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == EXIT_SIGNALLED + signal.SIGTERM
        thread.join()
    assert statuses == [None]
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_lost_device_ends_the_process_so_that_another_is_started():
    with running() as (process, http):
        process.send_signal(signal.SIGUSR1)
        assert post(http, clip()).json()["code"] == "internal"
        assert process.wait(PATIENCE_S) == EXIT_FAILED


def test_a_refusal_comes_before_the_body_is_sent():
    """With `Expect: 100-continue` a full or stopping server spares the caller the upload."""
    with running(max_requests=1) as (_, http), busy(http, 1):
        address = (http.base_url.host, http.base_url.port)
        with socket.create_connection(address, timeout=PATIENCE_S) as wire:
            wire.sendall(
                b"POST /v1/predictions HTTP/1.1\r\nHost: test\r\nContent-Type: video/mp4\r\n"
                b"Content-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
            )
            head = wire.recv(4096)
    assert head.startswith(b"HTTP/1.1 429")
    assert b"retry-after" in head.lower()


def test_metrics_can_have_a_port_of_their_own():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with running(metrics_port=port) as (_, http):
        assert http.get("/metrics").status_code == 404
        page = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
        assert "egopack_ready 1.0" in page


def test_on_sighup_a_better_bundle_is_served_and_a_bad_one_is_not(tmp_path):
    bundle = tmp_path / "bundle"
    shutil.copytree(SHIPPED_BUNDLE, bundle)
    flags = ["--bundle", str(bundle), "--port", "0", "--decode-workers", "1"]
    with started("-m", "server", *flags) as (process, http):
        first = http.get("/v1/models").json()["models"][0]["sha256"]
        weights = bundle / "skill-ar.safetensors"
        good = weights.read_bytes()
        weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: counted(http, 'egopack_reloads_total{result="failed"}') == 1)
        assert http.get("/v1/models").json()["models"][0]["sha256"] == first
        assert http.get("/readyz?verbose=1").json()["checks"]["reload"] == "failed"

        weights.write_bytes(good)
        manifest = bundle / "manifest.json"
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"version": "next"}))
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: counted(http, 'egopack_reloads_total{result="ok"}') == 1)
        model = http.get("/v1/models").json()["models"][0]
        assert model["version"] == "next"
        assert model["sha256"] != first
        assert counted(http, "egopack_model_info") == 1
        answer = post(http, CANARY.read_bytes())
        assert answer.json()["model"]["version"] == "next"


def test_on_sighup_keys_are_read_again(tmp_path):
    path = tmp_path / "keys"
    path.write_text("robot before")
    flags = ["--api-keys-file", str(path), "--port", "0", "--decode-workers", "1"]
    with started("-m", "server", *flags) as (process, http):

        def status(key):
            return http.get("/v1/models", headers={"x-api-key": key}).status_code

        assert (status("before"), status("after")) == (200, 401)
        path.write_text("robot after")
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: status("after") == 200)
        assert status("before") == 401


def test_without_a_bundle_it_says_so_and_fails(tmp_path, capfd):
    flags = ["--bundle", str(tmp_path), "--port", "0", "--decode-workers", "1"]
    command = [sys.executable, "-m", "server", *flags]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
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


def test_an_idle_connection_stays_open_for_as_long_as_it_is_told_and_is_closed_then():
    with (
        running(keep_alive_s=8) as (_, http),
        socket.create_connection((http.base_url.host, http.base_url.port), PATIENCE_S) as kept,
    ):
        for pause_s in (0.0, 1.0):
            time.sleep(pause_s)
            kept.sendall(b"GET /livez HTTP/1.1\r\nHost: test\r\n\r\n")
            answer = b""
            while not answer.endswith(b"}"):
                answer += kept.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200")
        begun_s = time.monotonic()
        assert kept.recv(1) == b""
        assert time.monotonic() - begun_s > 6  # uvicorn's own is 5
