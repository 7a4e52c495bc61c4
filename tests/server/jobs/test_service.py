import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from sqlalchemy import event

from tests.server.conftest import assert_problem
from tests.server.jobs.support.job_requests import submit, until_ended
from tests.server.support.fakes import clip
from tests.support.waiting import PATIENCE_S, wait_for


@pytest.fixture
def served(serve_jobs):
    return serve_jobs()


def test_jobs_are_counted_by_state_and_timed(serve_jobs, monkeypatch):
    monkeypatch.setattr("server.jobs.service.COUNT_S", 0.05)
    served = serve_jobs()
    for body in (clip(), clip(), b"reject damaged"):
        until_ended(served, submit(served, body).json())
    registry = served.engine.telemetry.metrics.registry
    expected = dict.fromkeys(("queued", "running", "canceled", "expired"), 0)
    expected |= {"succeeded": 2, "failed": 1}
    counted = lambda state: registry.get_sample_value("egopack_jobs", {"state": state})  # noqa: E731
    wait_for(lambda: {state: counted(state) for state in expected} == expected)
    assert registry.get_sample_value("egopack_job_duration_seconds_count") == 3
    assert 0 < registry.get_sample_value("egopack_job_duration_seconds_sum") < 30


def test_a_result_expires_and_says_so(serve_jobs, monkeypatch):
    monkeypatch.setattr("server.jobs.service.HOUSEKEEPING_S", 0.05)
    served = serve_jobs(job_ttl_s=0.01)
    job = submit(served).json()
    wait_for(lambda: until_ended(served, job)["state"] == "expired")
    assert_problem(served.http.get(job["links"]["result"]), 410, "result-expired")
    assert list(served.engine.settings.state_dir.glob("results/*")) == []


def test_without_a_store_those_who_wait_are_still_answered(serve_jobs):
    served = serve_jobs(job_database="postgresql://x@/x?host=/no/such/folder")
    assert served.post(clip()).status_code == 200
    assert_problem(submit(served), 503, "jobs-unavailable")


@pytest.mark.slow(2)
def test_a_store_that_hangs_stops_jobs_alone(serve_jobs, monkeypatch):
    monkeypatch.setattr("server.jobs.service.COUNT_S", 0.02)
    served = serve_jobs()
    job, jobs = submit(served).json(), served.transport.app.state.jobs
    until_ended(served, job)
    gate, engine = threading.Event(), jobs.store._database._engine

    def hang(*_):
        gate.wait(PATIENCE_S)

    def wait_at_most(longest_s):
        monkeypatch.setattr("server.jobs.threads.START_S", longest_s)
        monkeypatch.setattr("server.jobs.threads.END_S", longest_s)

    event.listen(engine, "begin", hang)
    wait_at_most(0.2)
    try:
        with ThreadPoolExecutor(40) as callers:
            asked = [callers.submit(served.http.get, "/v1/jobs") for _ in range(20)]
            asked += [callers.submit(served.http.get, job["links"]["self"]) for _ in range(20)]
            assert served.post(clip()).status_code == 200
            for one in asked:
                assert_problem(one.result(), 503, "jobs-unavailable")
        assert_problem(submit(served), 503, "jobs-unavailable")
        assert served.post(clip()).status_code == 200
        wait_for(lambda: jobs.checks["store"] != "ok")
    finally:
        wait_at_most(PATIENCE_S)
        gate.set()
        event.remove(engine, "begin", hang)
    wait_for(lambda: jobs.checks == {"store": "ok", "files": "ok"})
    assert served.http.get(job["links"]["self"]).json()["state"] == "succeeded"


@pytest.mark.slow(2)
@pytest.mark.parametrize("step_s", [3600.0, -3600.0])
def test_a_clock_that_steps_by_an_hour_neither_loses_nor_doubles_a_job(
    serve_jobs, monkeypatch, step_s
):
    monkeypatch.setattr("server.jobs.worker.POLL_S", 0.02)
    served = serve_jobs(job_workers=2, job_lease_s=5, job_max_attempts=1)
    gate, entered = threading.Event(), threading.Event()
    served.predictor.before_predict = lambda: (entered.set(), gate.wait(PATIENCE_S))
    store, real, asked = served.transport.app.state.jobs.store, time.time, []
    before = store.claim
    job = submit(served).json()
    wait_for(entered.is_set)
    monkeypatch.setattr(time, "time", lambda: real() + step_s)
    monkeypatch.setattr(store, "claim", lambda **values: (asked.append(1), before(**values))[1])
    wait_for(lambda: len(asked) > 5)  # by the other worker
    gate.set()
    ended = until_ended(served, job)
    assert (ended["state"], ended["attempt"]) == ("succeeded", 1)
    assert [e.name for e in store.events(job["id"])].count("completed") == 1
    again = submit(served).json()
    assert until_ended(served, again)["state"] == "succeeded"


@pytest.mark.service
@pytest.mark.slow(2)
def test_what_no_text_of_the_store_can_hold_is_not_found(serve_jobs, postgres):
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE nul")
    served = serve_jobs(job_database=postgres.url("nul"))
    for job_id in ("%00", "a%00b", "0" * 31 + "%00", "x" * 5000, "%ED%A0%80"):
        for end in ("", "/events", "/result"):
            assert_problem(served.http.get(f"/v1/jobs/{job_id}{end}"), 404, "not-found")
        assert_problem(served.http.post(f"/v1/jobs/{job_id}/cancel"), 404, "not-found")
    refused = submit(served, options={"webhook_url": "https://a.example/\0"})
    assert_problem(refused, 422, "invalid-field")
    assert until_ended(served, submit(served).json())["state"] == "succeeded"
