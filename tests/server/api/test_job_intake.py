import threading
import time

import pytest

from server.api.uploads.spool import PREFIX, SpoolDirectory
from server.jobs.idempotency import IdempotencyKeys
from tests.server.conftest import assert_problem
from tests.server.jobs.support.job_requests import submit, until_ended
from tests.server.jobs.test_webhooks import SECRET
from tests.server.support.fakes import clip
from tests.server.support.open_upload import OpenUpload
from tests.support.waiting import PATIENCE_S, wait_for


@pytest.fixture
def served(serve_jobs):
    return serve_jobs()


def test_the_same_key_and_body_are_the_same_job_and_another_body_is_refused(served):
    first = submit(served, idempotency_key="k1").json()
    until_ended(served, first)
    again = submit(served, idempotency_key="k1")
    assert (again.status_code, again.json()["id"]) == (202, first["id"])
    assert submit(served, idempotency_key="k2").json()["id"] != first["id"]
    for change in ({"body": clip(61)}, {"options": {"top_k": 2}}):
        refused = submit(served, idempotency_key="k1", **change)
        assert_problem(refused, 422, "idempotency-key-reused")
    assert len(served.http.get("/v1/jobs").json()["jobs"]) == 2


def test_a_key_whose_request_was_refused_may_be_used_again(served):
    refused = submit(served, options={"tasks": ["dance"]}, idempotency_key="k")
    assert_problem(refused, 422, "invalid-field")
    assert submit(served, idempotency_key="k").status_code == 202


def test_a_key_that_is_being_received_is_told_so(served):
    keys = served.transport.app.state.jobs.keys
    keys.reserve("", "k", now_s=time.time(), hold_s=60)
    assert_problem(submit(served, idempotency_key="k"), 409, "idempotency-in-progress")
    keys.release("", "k")
    assert submit(served, idempotency_key="k").status_code == 202


def test_a_key_is_held_by_a_short_lease_as_long_as_the_body_comes(served, monkeypatch):
    monkeypatch.setattr("server.api.job_intake.KEY_LEASE_S", 6.0)
    held, renew = [], IdempotencyKeys.renew

    def note(self, caller, key, *, now_s, hold_s):
        held.append(now_s + hold_s - time.time())
        renew(self, caller, key, now_s=now_s, hold_s=hold_s)

    monkeypatch.setattr(IdempotencyKeys, "renew", note)
    monkeypatch.setattr("server.api.job_intake.RENEWALS", 600)
    upload = OpenUpload(served, headers={"prefer": "respond-async", "idempotency-key": "k"})
    upload.send(b"clip ")
    wait_for(lambda: len(held) >= 3)
    assert max(held) <= 6.0  # a killed server holds it no longer
    assert_problem(submit(served, idempotency_key="k"), 409, "idempotency-in-progress")
    upload.hang_up()
    assert submit(served, idempotency_key="k").status_code == 202


def test_what_a_killed_server_was_receiving_goes_at_the_next_start(serve_jobs, tmp_path):
    spool, incoming = tmp_path / "spool", tmp_path / "state" / "incoming"
    living = SpoolDirectory(incoming)
    left = [folder / f"{PREFIX}killed" / "clip" for folder in (spool, incoming)]
    for path in (*left, living.path / "clip"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(1000))
    serve_jobs(state_dir=tmp_path / "state")
    assert not any(path.parent.exists() for path in left)
    assert (living.path / "clip").exists()
    living.remove()


@pytest.mark.parametrize("key", ["", "with blank", "x" * 256])
def test_a_key_that_is_none_is_refused(served, key):
    assert_problem(submit(served, idempotency_key=key), 422, "invalid-field")


def test_too_many_jobs_are_told_to_come_back(serve_jobs):
    served = serve_jobs(max_jobs=1)
    gate = threading.Event()
    served.predictor.before_predict = lambda: gate.wait(PATIENCE_S)
    first = submit(served)
    assert_problem(submit(served), 429, "queue-full")
    gate.set()
    until_ended(served, first.json())
    assert submit(served).status_code == 202


def test_a_jobs_body_may_be_longer_than_others(serve_jobs):
    served = serve_jobs(max_upload_mb=1, job_max_upload_mb=2)
    long = clip() + b" " * (3 << 19)
    assert_problem(served.post(long), 413, "body-too-large")
    assert submit(served, long).status_code == 202
    assert_problem(submit(served, clip() + b" " * (1 << 22)), 413, "body-too-large")


def test_a_webhook_that_cannot_be_sent_is_refused_at_once(serve_jobs):
    served = serve_jobs()
    options = {"webhook_url": "https://example.org/"}
    assert_problem(submit(served, options=options), 422, "invalid-field")  # no secret
    assert_problem(served.post_form(clip(), options), 422, "invalid-field")  # not a job
    served = serve_jobs(webhook_secret=SECRET)
    for url in ("http://example.org/", "https://127.0.0.1/", "https://user:pw@example.org/"):
        refused = submit(served, options={"webhook_url": url})
        problem = assert_problem(refused, 422, "invalid-field")
        assert problem["errors"][0]["pointer"] == "/webhook_url"
