import pytest

from tests.server.conftest import assert_problem
from tests.server.jobs.support.job_requests import submit, until_ended
from tests.server.support.fakes import clip
from tests.support.waiting import wait_for


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
