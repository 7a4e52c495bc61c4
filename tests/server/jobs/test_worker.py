"""Servers that are killed in mid-job: every job that was accepted ends exactly once."""

import json
import random
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx
import pytest
from standardwebhooks import Webhook

from server.jobs.database import Database
from server.jobs.store import JobStore
from tests.server.jobs.support.receiver import receiving
from tests.server.jobs.test_webhooks import SECRET
from tests.support.waiting import PATIENCE_S, wait_for

pytestmark = pytest.mark.service

SLOW = b"slow 0.3"
"""Three windows, 0.3 s each."""


@pytest.fixture
def settings(new_url, tmp_path):
    return {
        "state_dir": str(tmp_path / "state"),
        "job_database": new_url(),
        "job_lease_s": 1,
        "drain_delay_s": 0,
        "job_max_attempts": 20,
        "webhook_secret": SECRET,
        "webhook_allow_http": True,
        "webhook_allow_private": True,
    }


@contextmanager
def running(settings):
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.server.jobs.support.fake_server", json.dumps(settings)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        url = re.search(r"http://\S+?(?=/\s)", process.stdout.readline()).group()
        with httpx.Client(base_url=url, trust_env=False, timeout=PATIENCE_S) as http:
            wait_for(lambda: http.get("/readyz").status_code == 200)
            yield process, http
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def submit(http, receiver, body):
    options = json.dumps({"webhook_url": f"http://127.0.0.1:{receiver.port}/"})
    files = {"video": ("x", body), "request": (None, options, "application/json")}
    answer = http.post("/v1/predictions", files=files, headers={"prefer": "respond-async"})
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def states(http):
    return {job["id"]: job["state"] for job in http.get("/v1/jobs").json()["jobs"]}


@contextmanager
def opened(settings):
    database = Database(settings["job_database"])
    try:
        yield JobStore(database)
    finally:
        database.close()


def check_ends(settings, receiver, ids, http):
    """One result, one end and one message a job, whatever happened on the way."""
    messages = {}
    for _, headers, body in receiver.received:
        Webhook(SECRET).verify(body, headers)
        messages.setdefault(json.loads(body)["data"]["id"], set()).add(headers["webhook-id"])
    assert {job_id: len(found) for job_id, found in messages.items()} == dict.fromkeys(ids, 1)
    for job_id in ids:
        result = http.get(f"/v1/jobs/{job_id}/result")
        assert (result.status_code, result.json()["id"]) == (200, job_id)
    with opened(settings) as store:
        for job_id in ids:
            names = [event.name for event in store.events(job_id)]
            assert names.count("completed") == 1
            assert names[-1] == "completed"
        return {job_id: store.get(job_id).attempt for job_id in ids}


@pytest.mark.slow(25)
def test_a_server_killed_in_mid_job_finishes_everything_after_its_restart(settings):
    with receiving() as receiver:
        with running(settings) as (process, http):
            ids = [submit(http, receiver, SLOW) for _ in range(3)]
            wait_for(lambda: states(http)[ids[0]] == "running")
            process.send_signal(signal.SIGKILL)
            process.wait()
        with running(settings) as (_, http):
            wait_for(lambda: set(states(http).values()) == {"succeeded"})
            wait_for(lambda: len(receiver.received) >= 3)
            attempts = check_ends(settings, receiver, ids, http)
    assert attempts == {ids[0]: 2, ids[1]: 1, ids[2]: 1}


@pytest.mark.slow(25)
def test_kills_at_random_moments_lose_and_double_nothing(settings):
    chance = random.Random(5)
    with receiving() as receiver:
        ids = []
        for _ in range(3):
            with running(settings) as (process, http):
                ids += [submit(http, receiver, SLOW) for _ in range(2)]
                time.sleep(chance.uniform(0.0, 2.0))
                process.send_signal(signal.SIGKILL)
                process.wait()
        with running(settings) as (_, http):
            wait_for(lambda: list(states(http).values()) == ["succeeded"] * len(ids))
            wait_for(lambda: len({h["webhook-id"] for _, h, _ in receiver.received}) == len(ids))
            check_ends(settings, receiver, ids, http)


@pytest.mark.slow(25)
def test_two_servers_share_the_work_and_one_inherits_from_the_other(settings):
    with receiving() as receiver, running(settings) as (one, first), running(settings) as (_, http):
        ids = [submit(first, receiver, SLOW) for _ in range(4)]
        wait_for(lambda: list(states(http).values()).count("running") == 2)
        one.send_signal(signal.SIGKILL)
        wait_for(lambda: set(states(http).values()) == {"succeeded"})
        wait_for(lambda: len(receiver.received) >= 4)
        attempts = check_ends(settings, receiver, ids, http)
    assert sorted(attempts.values()) == [1, 1, 1, 2]


@pytest.mark.slow(25)
def test_sigterm_puts_a_job_back_at_once_without_counting_the_attempt(settings):
    settings["job_lease_s"] = 60  # a lease that ran out would count
    with receiving() as receiver, running(settings) as (process, http):
        job_id = submit(http, receiver, b"slow 200")
        wait_for(lambda: states(http)[job_id] == "running")
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0  # before the first of the job's windows is done
    with opened(settings) as store:
        job = store.get(job_id)
    assert (job.state, job.attempt) == ("queued", 0)
