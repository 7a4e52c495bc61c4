"""A real server while its decoders die, its callers stall and leave, and it is told to stop."""

import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from bench.load.watch import process_tree
from bench.videos import make_clip
from clients.local import LocalServer
from tests.extract.support.clips import write_numbered
from tests.server.api.test_serve import counted
from tests.support.waiting import PATIENCE_S, wait_for

pytestmark = pytest.mark.service

PLACES = 4
"""Requests the server takes at once."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("chaos")


@pytest.fixture(scope="module")
def short(folder):
    return write_numbered(folder / "short.mp4", 60).read_bytes()


@pytest.fixture(scope="module")
def heavy(folder):
    """A clip that takes a decoder long enough to be caught at it."""
    return make_clip(folder / "heavy.mp4", seconds=16).read_bytes()


@pytest.fixture(scope="module")
def server(folder):
    flags = ["--spool-dir", str(folder / "spool"), "--decode-workers", "2"]
    bounds = ["--max-requests", str(PLACES), "--upload-timeout-s", "5", "--decode-wall-s", "15"]
    bounds += ["--max-caller-share", "1"]
    with LocalServer(*flags, *bounds) as running:
        yield running
    assert running.exit_code == 0


@pytest.fixture(scope="module")
def http(server):
    with httpx.Client(base_url=server.url, trust_env=False, timeout=PATIENCE_S) as client:
        client.post("/v1/predictions", files={"video": b"warm up"})
        yield client


@pytest.fixture(autouse=True)
def _unharmed(http, short, folder):
    """Whatever happened, every place is free again soon, and nothing is left on disk."""
    yield

    def all_at_once():
        with ThreadPoolExecutor(PLACES) as threads:
            again = list(threads.map(lambda _: post(http, short), range(PLACES)))
        return [response.status_code for response in again] == [200] * PLACES

    wait_for(all_at_once)
    assert [path for path in (folder / "spool").rglob("*") if path.is_file()] == []


def post(http, body):
    return http.post("/v1/predictions", files={"video": ("clip", body)})


def decoders(server):
    """Ids of the decoding processes."""
    return [
        pid for pid in process_tree(server.pid)[1:] if "extract.sandbox.worker" in command_of(pid)
    ]


def command_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def is_at_work(pid, folder):
    """Whether a decoder has a clip open."""
    try:
        places = Path(f"/proc/{pid}/fd").iterdir()
        return any(os.readlink(place).startswith(str(folder / "spool")) for place in places)
    except OSError:
        return False


def signal_a_decoder_at_work(server, http, body, folder, number):
    """Posts a clip, signals the decoder that works on it; returns the answer and its id."""
    wait_for(lambda: len(decoders(server)) == 2)
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(post, http, body)
        (pid,) = wait_for(
            lambda: [pid for pid in decoders(server) if is_at_work(pid, folder)], pause_s=0.005
        )
        os.kill(pid, number)
        return answer.result(timeout=PATIENCE_S), pid


def test_a_decoder_killed_in_mid_clip_costs_a_second_try(server, http, heavy, folder):
    answer, pid = signal_a_decoder_at_work(server, http, heavy, folder, signal.SIGKILL)
    assert answer.status_code == 200, answer.text
    wait_for(lambda: len(decoders(server)) == 2 and pid not in decoders(server))


def test_a_decoder_killed_twice_costs_its_clip_alone(server, http, heavy, folder):
    stop = threading.Event()
    killed = []

    def kill_all():
        while not stop.is_set():
            for pid in decoders(server):
                if is_at_work(pid, folder):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
            time.sleep(0.005)

    killer = threading.Thread(target=kill_all)
    killer.start()
    try:
        for _ in range(10):  # a decoder may be done before it is seen at work
            answer = post(http, heavy)
            if answer.status_code != 200:
                break
    finally:
        stop.set()
        killer.join()
    assert len(set(killed)) >= 2
    assert (answer.status_code, answer.json()["code"]) in (
        (422, "undecodable-video"),
        (503, "decoder-unavailable"),
    )


def test_a_decoder_that_hangs_in_mid_clip_is_replaced_in_time(server, http, heavy, folder):
    answer, pid = signal_a_decoder_at_work(server, http, heavy, folder, signal.SIGSTOP)
    assert (answer.status_code, answer.json()["code"]) == (503, "decoder-unavailable")
    assert answer.json()["retryable"] is True
    wait_for(lambda: pid not in decoders(server))


def head(length, server):
    host = server.url.removeprefix("http://")
    return (
        f"POST /v1/predictions HTTP/1.1\r\nHost: {host}\r\nContent-Type: video/mp4\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


def connect(server):
    host, port = server.url.removeprefix("http://").rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=PATIENCE_S)


def test_a_stalled_upload_is_given_up_and_holds_up_nobody(server, http, short):
    with connect(server) as stalled:
        stalled.sendall(head(len(short), server) + short[: len(short) // 2])
        assert post(http, short).status_code == 200
        assert b" 504 " in stalled.recv(4096).splitlines()[0]


def test_a_slow_reader_gets_its_answer_and_holds_up_nobody(server, http, short):
    with connect(server) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        slow.sendall(head(len(short), server) + short)
        for _ in range(PLACES):
            assert post(http, short).status_code == 200
        received = b""
        while b'"warnings":[]}' not in received:
            part = slow.recv(512)
            assert part, received[-200:]
            received += part
        assert received.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "sent", ["part of the head", "the head", "half the body", "all", "all, and waited"]
)
def test_callers_who_leave_cost_no_place(server, http, heavy, sent):
    """More leave than there are places; the fixture then asks for all of them."""
    whole = head(len(heavy), server)
    parts = {
        "part of the head": whole[:40],
        "the head": whole,
        "half the body": whole + heavy[: len(heavy) // 2],
        "all": whole + heavy,
        "all, and waited": whole + heavy,
    }
    for _ in range(PLACES + 1):
        with connect(server) as leaving:
            leaving.sendall(parts[sent])
            if sent == "all, and waited":
                time.sleep(0.3)  # in a decoder, or past it


def test_what_was_accepted_is_answered_after_sigterm(heavy, short):
    with (
        LocalServer("--decode-workers", "2") as server,
        httpx.Client(base_url=server.url, trust_env=False, timeout=PATIENCE_S) as http,
        ThreadPoolExecutor(8) as threads,
    ):
        accepted = [threads.submit(post, http, heavy) for _ in range(6)]
        done = lambda: sum(one.done() for one in accepted)  # noqa: E731
        wait_for(lambda: counted(http, "egopack_inflight_requests ") + done() == len(accepted))
        assert done() < len(accepted)
        os.kill(server.pid, signal.SIGTERM)
        late = threads.submit(post_late, server.url, short)
        assert [one.result().status_code for one in accepted] == [200] * 6
        assert late.result() in (200, 503, None)  # answered or refused, never left hanging
        wait_for(lambda: has_ended(server.pid))
    assert server.exit_code == 0


def has_ended(pid):
    """Tells whether a child of ours has ended, waited for or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def post_late(url, body):
    """The status of a call to a server that is stopping; None when it listens no more."""
    time.sleep(0.2)
    try:
        with httpx.Client(base_url=url, trust_env=False, timeout=PATIENCE_S) as http:
            return post(http, body).status_code
    except httpx.TransportError:
        return None
