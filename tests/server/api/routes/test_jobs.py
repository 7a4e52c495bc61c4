"""Jobs over HTTP, with a model that can be computed by hand."""

import json
import threading

import pytest
from standardwebhooks import Webhook

from extract.features.track_file import track_bytes
from tests.server.api.routes.test_features import track
from tests.server.conftest import assert_problem
from tests.server.jobs.support.job_requests import submit, until_ended
from tests.server.jobs.support.receiver import receiving
from tests.server.jobs.test_webhooks import SECRET
from tests.server.support.fakes import clip
from tests.server.support.probe import NOISE, probing
from tests.support.waiting import PATIENCE_S, wait_for


@pytest.fixture
def served(serve_jobs):
    return serve_jobs()


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
    served.predictor.before_predict = lambda: gate.wait(PATIENCE_S)
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


def test_wait_gives_the_answer_if_it_is_there_in_time(serve_jobs):
    served = serve_jobs()
    answered = submit(served, prefer="respond-async, wait=10")
    assert (answered.status_code, answered.json()["model"]["name"]) == (200, "fake")
    assert answered.headers["preference-applied"] == "respond-async, wait=10"
    gate = threading.Event()
    served.predictor.before_predict = lambda: gate.wait(PATIENCE_S)
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


@pytest.mark.slow
def test_the_end_is_announced_with_a_signature(serve_jobs):
    served = serve_jobs(webhook_secret=SECRET, webhook_allow_http=True, webhook_allow_private=True)
    with receiving() as receiver:
        url = f"http://127.0.0.1:{receiver.port}/hook?token=t"
        job = submit(served, options={"webhook_url": url}).json()
        assert "token" not in json.dumps(job)
        until_ended(served, job)
        wait_for(lambda: receiver.received)
    [(_, headers, body)] = receiver.received
    message = Webhook(SECRET).verify(body, headers)
    assert message["type"] == "job.succeeded"
    assert message["data"] == served.http.get(job["links"]["self"]).json()


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


def test_what_is_no_id_is_not_looked_up(serve_jobs, monkeypatch):
    served = serve_jobs(job_workers=0)

    def look(*_, **__):
        raise AssertionError("it reached the store")

    for name in ("get", "cancel"):
        monkeypatch.setattr(served.transport.app.state.jobs.store, name, look)
    for text in ("%00", "a%00b", "0" * 31 + "%00", "A" * 32, "0" * 33, "%F0%9F%98%80"):
        for path in (f"/v1/jobs/{text}", f"/v1/jobs/{text}/events", f"/v1/jobs/{text}/result"):
            assert_problem(served.http.get(path), 404, "not-found")
        assert_problem(served.http.post(f"/v1/jobs/{text}/cancel"), 404, "not-found")


def test_what_is_asked_about_a_stream_of_events_is_told_at_once(serve_jobs):
    served = serve_jobs(job_workers=0)
    job = submit(served).json()
    assert job["state"] == "queued"  # its events do not end
    head = served.http.head(job["links"]["events"])
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"].startswith("text/event-stream")


@pytest.mark.slow(20)
def test_a_long_answer_is_made_and_sent_while_the_loop_goes_on(served):
    """Half an hour in steps of half a second; evidence makes it some megabytes."""
    sent = track_bytes(track(served, 30 * 1800))
    files = {
        "features": ("x", sent, "application/x-safetensors"),
        "request": (None, json.dumps({"segment_s": 0.5}),
                    "application/json"),
    }  # fmt: skip
    with probing(served.transport) as reading:
        answer = served.http.post(
            "/v1/predictions", files=files, headers={"prefer": "respond-async"}
        )
        assert answer.status_code == 202, answer.text
        job = until_ended(served, answer.json())
        result = served.http.get(job["links"]["result"])
    assert reading.is_smooth, reading
    assert reading.grown_bytes <= 2 * (len(sent) + len(result.content)) + NOISE, reading
    assert len(result.json()["segments"]) == 3598  # two windows' lengths have none to the end
    assert result.headers["content-length"] == str(len(result.content))
    assert len(result.content) > 3e6
