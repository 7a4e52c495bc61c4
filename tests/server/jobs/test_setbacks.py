"""Setbacks: a job waits for what is no fault of it, says so, and loses nothing."""

import errno
import itertools
import json
import threading

import pytest

from extract.errors import DecoderUnavailable
from server.errors import FeaturesInvalid, HostOutOfMemory, JobsUnavailable, OutOfMemory
from server.jobs import setbacks
from tests.server.jobs.support.job_requests import submit, until_ended
from tests.support.waiting import PATIENCE_S, wait_for


@pytest.fixture
def served(serve_jobs, monkeypatch):
    monkeypatch.setattr(setbacks, "FIRST_S", 0.02)
    monkeypatch.setattr("server.jobs.worker.POLL_S", 0.02)
    return serve_jobs(job_max_attempts=1)


@pytest.fixture
def fail(monkeypatch):
    """Makes a function raise until the returned event is set; counts how often it did."""

    def break_(target, error):
        mended, calls = threading.Event(), []
        owner, _, name = target.rpartition(".")
        module, _, cls = owner.rpartition(".")
        whole = getattr(__import__(module, fromlist=[cls]), cls) if cls[0].isupper() else None
        holder = whole or __import__(owner, fromlist=[name])
        before = getattr(holder, name)

        def instead(*args, **values):
            if mended.is_set():
                return before(*args, **values)
            calls.append(1)
            raise error

        monkeypatch.setattr(holder, name, instead)
        return mended, calls

    return break_


def events_of(served, job):
    return served.transport.app.state.jobs.store.events(job["id"])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_result_that_finds_no_space_is_waited_for(served, fail, number):
    mended, calls = fail("server.jobs.files.sync", OSError(number, "no", "/secret"))
    job = submit(served).json()
    path = job["links"]["self"]

    def waits():
        now = served.http.get(path).json()
        return now if now.get("progress", {}).get("stage") == "waiting" else None

    waiting = wait_for(waits)
    wait_for(lambda: len(calls) >= 4)
    assert waiting["state"] == "running"
    assert waiting["progress"]["reason"] == setbacks.reason_of(OSError(number, ""))
    inputs = served.engine.settings.state_dir / "inputs"
    assert [one.name for one in inputs.iterdir()] == [job["id"]]
    wait_for(lambda: "waiting" in [e.data.get("stage") for e in events_of(served, job)])
    assert "secret" not in json.dumps([e.data for e in events_of(served, job)])
    mended.set()
    ended = until_ended(served, job)
    assert (ended["state"], ended["attempt"]) == ("succeeded", 1)
    assert served.http.get(job["links"]["result"]).json()["id"] == job["id"]
    names = [event.name for event in events_of(served, job)]
    assert (names.count("completed"), names[-1]) == (1, "completed")
    wait_for(lambda: list(inputs.iterdir()) == [])


@pytest.mark.slow(3)
def test_a_store_that_is_away_for_longer_than_a_lease_costs_nothing(serve_jobs, fail):
    served = serve_jobs(job_lease_s=1, job_max_attempts=1, job_workers=2)
    error = JobsUnavailable("the store of jobs does not answer")
    mended, calls = fail("server.jobs.store.JobStore.succeed", error)
    renewed, _ = fail("server.jobs.store.JobStore.renew", error)
    job = submit(served).json()
    wait_for(lambda: len(calls) >= 6)  # a third of a lease apart
    assert list((served.engine.settings.state_dir / "results").iterdir()) != []
    renewed.set()
    mended.set()
    ended = until_ended(served, job)
    assert (ended["state"], ended["attempt"]) == ("succeeded", 1)


def test_decoders_that_cannot_be_started_are_waited_for(served, fail):
    target = "tests.server.jobs.support.fake_stream.FakeStream.batches"
    mended, calls = fail(target, DecoderUnavailable("fork failed"))
    job = submit(served).json()
    wait_for(lambda: len(calls) >= 3)
    mended.set()
    assert until_ended(served, job)["state"] == "succeeded"


def test_a_job_that_waits_can_be_canceled_and_the_next_one_goes_on(served, fail):
    mended, calls = fail("server.jobs.files.sync", OSError(errno.ENOSPC, "no"))
    job = submit(served).json()
    wait_for(lambda: len(calls) >= 2)
    assert served.http.post(job["links"]["cancel"]).json()["state"] == "canceled"
    mended.set()
    assert until_ended(served, submit(served).json())["state"] == "succeeded"
    results = served.engine.settings.state_dir / "results"
    wait_for(lambda: len(list(results.iterdir())) == 1)


def test_a_commit_whose_answer_was_lost_keeps_its_result(served, monkeypatch):
    store = served.transport.app.state.jobs.store
    before = store.succeed

    def succeed(*args, **values):
        monkeypatch.setattr(store, "succeed", before)
        before(*args, **values)
        raise JobsUnavailable("lost")

    monkeypatch.setattr(store, "succeed", succeed)
    job = submit(served).json()
    assert until_ended(served, job)["state"] == "succeeded"
    inputs = served.engine.settings.state_dir / "inputs"
    wait_for(lambda: list(inputs.iterdir()) == [])  # the worker is done with it
    assert served.http.get(job["links"]["result"]).status_code == 200


def test_a_caller_who_waits_hears_of_the_job_though_the_store_went_away(served, fail):
    target = "server.jobs.service.Jobs.find"
    mended, calls = fail(target, JobsUnavailable("the store of jobs does not answer"))
    answer = submit(served, prefer="respond-async, wait=60")
    assert (answer.status_code, len(calls)) == (202, 1)
    mended.set()
    assert until_ended(served, answer.json())["state"] == "succeeded"


def test_only_what_passes_is_waited_for():
    assert setbacks.reason_of(OSError(errno.ENOENT, "gone")) is None
    assert setbacks.reason_of(RuntimeError("a bug")) is None
    for error in (RuntimeError("can't start new thread"), MemoryError(), HostOutOfMemory("x")):
        assert setbacks.reason_of(error) == "the machine has no memory or no threads left"
    assert setbacks.reason_of(OutOfMemory("a device's does not come back in this process")) is None
    wrapped = FeaturesInvalid("cannot be read")
    assert setbacks.reason_of(wrapped) is None
    wrapped.__cause__ = OSError(errno.EMFILE, "too many")
    assert setbacks.reason_of(wrapped) == "the server has no file descriptors left"


def test_waits_double_up_to_the_longest():
    assert list(itertools.islice(setbacks.waits_s(5.0), 5)) == [1, 2, 4, 5, 5]
    assert PATIENCE_S > setbacks.LONGEST_S
