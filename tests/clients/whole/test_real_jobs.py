"""Jobs of a real server, over a road that is cut and with a server that is killed."""

import json
import re
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

import clients.__main__ as command
from clients.client import EgoPackClient
from clients.errors import BadClip, NotFinished, NotFound
from tests.clients.support.awaited import Awaited
from tests.clients.support.proxy import Proxy
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.service

SLOW = b"slow 0.4"
"""Three windows, 0.4 s each."""


@contextmanager
def running(state_dir):
    """A server process with a fake model, its jobs kept in a folder."""
    settings = {"state_dir": str(state_dir), "job_lease_s": 1, "job_max_attempts": 20}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.server.jobs.support.fake_server", json.dumps(settings)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        url = re.search(r"http://[\d.:]+", process.stdout.readline()).group()
        with EgoPackClient(url) as client:
            client.wait_ready(30)
        yield process, url
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("state")) as (_, url):
        yield url


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(SLOW)
    return path


@pytest.mark.parametrize("made", [EgoPackClient, Awaited])
def test_a_job_is_followed_to_its_end_over_a_road_that_keeps_being_cut(server, clip, made):
    with Proxy() as proxy, made(proxy.url) as client:
        proxy.lead_to(server)
        job = client.submit(clip, tasks=["oscc"])
        stop = threading.Event()

        def saw():
            while not stop.wait(0.15):
                proxy.cut()

        sawing = threading.Thread(target=saw)
        sawing.start()
        try:
            heard = list(client.job_events(job.id))
        finally:
            stop.set()
            sawing.join()
        assert [event.id for event in heard] == list(range(1, len(heard) + 1))
        assert heard[-1].name == "completed"
        assert client.job(job.id).state == "succeeded"
        assert client.result(job.id).segments


@pytest.mark.slow
def test_waiting_outlasts_a_server_that_is_killed_and_started_again(tmp_path, clip):
    ended, is_listening = [], threading.Event()
    with Proxy() as proxy, EgoPackClient(proxy.url) as client:

        def wait():
            is_heard = {"timeout_s": 90, "on_progress": lambda _: is_listening.set()}
            ended.append(client.wait(job.id, **is_heard).state)

        with running(tmp_path / "state") as (process, url):
            proxy.lead_to(url)
            job = client.submit(clip)
            waiting = threading.Thread(target=wait)
            waiting.start()
            assert is_listening.wait(PATIENCE_S)
            process.kill()
            process.wait()
        with running(tmp_path / "state") as (_, url):
            proxy.lead_to(url)
            waiting.join(PATIENCE_S)
            assert ended == ["succeeded"]
            assert client.result(job.id).segments


def test_a_key_of_ones_own_makes_one_job(server, clip):
    with EgoPackClient(server) as client:
        jobs = [client.submit(clip, idempotency_key="mine").id for _ in range(2)]
        assert jobs[0] == jobs[1]
        assert client.submit(clip).id != jobs[0]
        assert jobs[0] in [job.id for job in client.jobs(page_size=1)]


def test_the_ends_of_jobs_are_told_apart(server, clip, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"reject damaged")
    with EgoPackClient(server) as client:
        failed = client.wait(client.submit(tmp_path / "bad.mp4").id)
        assert (failed.state, failed.error.code) == ("failed", "undecodable-video")
        with pytest.raises(BadClip):
            client.result(failed.id)
        canceled = client.cancel(client.submit(clip).id)
        assert canceled.state == "canceled"
        with pytest.raises(NotFinished):
            client.result(canceled.id)
        with pytest.raises(NotFound):
            client.wait("none")


def test_jobs_from_the_command_line(server, clip, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("EGOPACK_URL", server)

    def run(*words):
        status = command.main(["jobs", *map(str, words)])
        return status, capsys.readouterr().out.strip()

    _, job_id = run("submit", clip, "--task", "oscc")
    status, line = run("show", job_id)
    assert (status, job_id in line) == (0, True)
    assert run("wait", job_id)[0] == 0
    status, text = run("result", job_id)
    assert (status, "OSCC" in text) == (0, True)
    assert run("result", job_id, "--out", tmp_path / "answer.json")[0] == 0
    kept = json.loads((tmp_path / "answer.json").read_bytes())
    assert kept == json.loads(run("result", job_id, "--json")[1])

    (tmp_path / "bad.mp4").write_bytes(b"reject damaged")
    _, bad_id = run("submit", tmp_path / "bad.mp4")
    assert run("wait", bad_id)[0] == 1
    assert "undecodable-video" in run("show", bad_id)[1]
    assert run("result", bad_id)[0] == 3
    assert bad_id in run("list", "--state", "failed", "--limit", 1)[1]
    assert run("list", "--json", "--limit", 2)[1].count("\n") == 1
    _, last_id = run("submit", clip)
    assert "canceled" in run("cancel", last_id)[1]
