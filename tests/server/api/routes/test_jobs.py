"""Jobs over HTTP, with a model that can be computed by hand."""

import json
import threading
import time

import pytest
from standardwebhooks import Webhook

from tests.server.conftest import assert_problem
from tests.server.fakes import clip
from tests.server.jobs.receiver import receiving
from tests.server.jobs.test_webhooks import SECRET


@pytest.fixture
def serve_jobs(serve, monkeypatch):
    """As `serve`, with videos that are lines of text."""
    from tests.server.jobs.fake_stream import FakeStream

    monkeypatch.setattr("server.engine.long_video.VideoStream", FakeStream)
    return serve


@pytest.fixture
def served(serve_jobs):
    return serve_jobs()


def submit(served, body=None, *, options=None, **headers):
    files = {"video": ("x", clip() if body is None else body)}
    if options is not None:
        files["request"] = (None, json.dumps(options), "application/json")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return served.http.post(
        "/v1/predictions", files=files, headers={"prefer": "respond-async", **named}
    )


def until_ended(served, job, timeout_s=15):
    until_s = time.monotonic() + timeout_s
    while (now := served.http.get(job["links"]["self"]).json())["state"] in ("queued", "running"):
        assert time.monotonic() < until_s, now
        time.sleep(0.02)
    return now


def events_of(served, job, **headers):
    text = served.http.get(job["links"]["events"], headers=headers).text
    blocks = [block for block in text.split("\n\n") if block and not block.startswith(":")]
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]


def test_a_request_becomes_a_job_and_its_result_is_the_answer(served):
    accepted = submit(served, options={"top_k": 1})
    assert accepted.status_code == 202
    job = accepted.json()
    assert accepted.headers["location"] == job["links"]["self"] == f"/v1/jobs/{job['id']}"
    assert accepted.headers["preference-applied"] == "respond-async"
    ended = until_ended(served, job)
    assert (ended["state"], ended["attempt"], ended["request"]) == ("succeeded", 1, {"top_k": 1})
    result = served.http.get(job["links"]["result"]).json()
    sync = served.post_form(clip(), {"top_k": 1}).json()
    for answer in (result, sync):
        del answer["id"], answer["timings"], answer["input"]["reader"]
    assert result == sync
    assert list(served.engine.settings.state_dir.glob("inputs/*")) == []


def test_jobs_are_counted_by_state_and_timed(serve_jobs, monkeypatch):
    monkeypatch.setattr("server.jobs.service.COUNT_S", 0.05)
    served = serve_jobs()
    for body in (clip(), clip(), b"reject damaged"):
        until_ended(served, submit(served, body).json())
    registry = served.engine.telemetry.metrics.registry
    expected = dict.fromkeys(("queued", "running", "canceled", "expired"), 0)
    expected |= {"succeeded": 2, "failed": 1}
    until_s = time.monotonic() + 5
    counts = None
    while counts != expected and time.monotonic() < until_s:
        counts = {s: registry.get_sample_value("egopack_jobs", {"state": s}) for s in expected}
        time.sleep(0.02)
    assert counts == expected
    assert registry.get_sample_value("egopack_job_duration_seconds_count") == 3
    assert 0 < registry.get_sample_value("egopack_job_duration_seconds_sum") < 30


def test_events_are_replayed_from_any_point(served):
    job = submit(served).json()
    events = events_of(served, job)
    assert [int(event["id"]) for event in events] == list(range(1, len(events) + 1))
    assert [event["event"] for event in events][-1] == "completed"
    assert {event["event"] for event in events[:-1]} == {"progress"}
    assert json.loads(events[0]["data"])["stage"] == "queued"
    for seen in range(len(events) + 1):
        assert events_of(served, job, **{"Last-Event-ID": str(seen)}) == events[seen:]
    assert_problem(
        served.http.get(job["links"]["events"], headers={"Last-Event-ID": "x"}),
        422,
        "invalid-field",
    )


def test_a_failed_job_says_why_and_so_does_its_result(served):
    job = submit(served, b"reject damaged").json()
    ended = until_ended(served, job)
    assert (ended["state"], ended["error"]["code"]) == ("failed", "undecodable-video")
    result = served.http.get(job["links"]["result"])
    assert (result.status_code, result.json()["code"]) == (422, "undecodable-video")
    assert events_of(served, job)[-1]["event"] == "error"
    for secret in ("Traceback", "/tmp", "inputs"):
        assert secret not in result.text


def test_a_job_that_is_too_long_says_so_in_a_jobs_words(served):
    job = submit(served, b"reject too-long").json()
    error = until_ended(served, job)["error"]
    assert error["code"] == "too-long"
    assert error["limits"] == {"job_max_duration_s": 7200.0}


def test_an_unforeseen_failure_is_ours_and_the_next_job_is_answered(served):
    job = submit(served, b"bug").json()
    assert until_ended(served, job)["error"]["code"] == "internal"
    assert until_ended(served, submit(served).json())["state"] == "succeeded"


def test_no_result_before_the_end_and_none_after_cancel(serve_jobs):
    served = serve_jobs()
    gate = threading.Event()
    served.predictor.before_predict = lambda: gate.wait(10)
    job = submit(served).json()
    assert_problem(served.http.get(job["links"]["result"]), 409, "job-not-finished")
    canceled = served.http.post(job["links"]["cancel"])
    assert (canceled.status_code, canceled.json()["state"]) == (202, "canceled")
    again = served.http.post(job["links"]["cancel"])
    assert (again.status_code, again.json()) == (202, canceled.json())
    assert_problem(served.http.get(job["links"]["result"]), 409, "job-not-finished")
    gate.set()
    other = submit(served).json()
    assert until_ended(served, other)["state"] == "succeeded"
    done = served.http.post(other["links"]["cancel"])
    assert (done.status_code, done.json()["state"]) == (202, "succeeded")
    assert served.http.get(job["links"]["self"]).json()["state"] == "canceled"
    assert events_of(served, job)[-1]["event"] == "canceled"


def test_a_result_expires_and_says_so(serve_jobs, monkeypatch):
    monkeypatch.setattr("server.jobs.service.HOUSEKEEPING_S", 0.05)
    served = serve_jobs(job_ttl_s=0.01)
    job = submit(served).json()
    until_s = time.monotonic() + 10
    while until_ended(served, job)["state"] != "expired":
        assert time.monotonic() < until_s
        time.sleep(0.02)
    assert_problem(served.http.get(job["links"]["result"]), 410, "result-expired")
    assert list(served.engine.settings.state_dir.glob("results/*")) == []


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


@pytest.mark.parametrize("key", ["", "with blank", "x" * 256])
def test_a_key_that_is_none_is_refused(served, key):
    assert_problem(submit(served, idempotency_key=key), 422, "invalid-field")


def test_wait_gives_the_answer_if_it_is_there_in_time(serve_jobs):
    served = serve_jobs()
    answered = submit(served, prefer="respond-async, wait=10")
    assert (answered.status_code, answered.json()["model"]["name"]) == (200, "fake")
    assert answered.headers["preference-applied"] == "respond-async, wait=10"
    gate = threading.Event()
    served.predictor.before_predict = lambda: gate.wait(10)
    assert submit(served, prefer="respond-async, wait=0").status_code == 202
    gate.set()
    assert_problem(submit(served, prefer="respond-async, wait=x"), 422, "invalid-field")


def test_pages_lead_through_all_jobs(served):
    ids = [submit(served).json()["id"] for _ in range(5)]
    seen, cursor = [], {}
    while True:
        page = served.http.get("/v1/jobs", params={"limit": 2, **cursor}).json()
        seen += [job["id"] for job in page["jobs"]]
        if "next" not in page:
            break
        cursor = {"cursor": page["next"]}
    assert seen == ids[::-1]
    for cursor in ("x", "e30", "WzEsMl0"):
        refused = served.http.get("/v1/jobs", params={"cursor": cursor})
        assert_problem(refused, 422, "invalid-field")
    assert_problem(served.http.get("/v1/jobs/no-such-job"), 404, "not-found")


def test_too_many_jobs_are_told_to_come_back(serve_jobs):
    served = serve_jobs(max_jobs=1)
    gate = threading.Event()
    served.predictor.before_predict = lambda: gate.wait(10)
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


def test_the_end_is_announced_with_a_signature(serve_jobs):
    served = serve_jobs(webhook_secret=SECRET, webhook_allow_http=True, webhook_allow_private=True)
    with receiving() as receiver:
        url = f"http://127.0.0.1:{receiver.port}/hook?token=t"
        job = submit(served, options={"webhook_url": url}).json()
        assert "token" not in json.dumps(job)
        until_ended(served, job)
        until_s = time.monotonic() + 10
        while not receiver.received:
            assert time.monotonic() < until_s
            time.sleep(0.02)
    [(_, headers, body)] = receiver.received
    message = Webhook(SECRET).verify(body, headers)
    assert message["type"] == "job.succeeded"
    assert message["data"] == served.http.get(job["links"]["self"]).json()


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


def test_jobs_are_seen_with_the_key_they_were_sent_with(serve_jobs):
    served = serve_jobs(api_keys={"ann": "annas-key", "bob": "bobs-key"})
    ann, bob = {"x-api-key": "annas-key"}, {"x-api-key": "bobs-key"}
    job = submit(served, x_api_key="annas-key").json()
    assert served.http.get("/v1/jobs", headers=ann).json()["jobs"][0]["id"] == job["id"]
    assert served.http.get("/v1/jobs", headers=bob).json()["jobs"] == []
    for suffix in ("self", "events", "result"):
        refused = served.http.get(job["links"][suffix], headers=bob)
        assert_problem(refused, 404, "not-found")
    refused = served.http.post(job["links"]["cancel"], headers=bob)
    assert_problem(refused, 404, "not-found")


def test_without_a_store_those_who_wait_are_still_answered(serve_jobs):
    served = serve_jobs(job_database="postgresql://x@/x?host=/no/such/folder")
    assert served.post(clip()).status_code == 200
    assert_problem(submit(served), 503, "jobs-unavailable")
