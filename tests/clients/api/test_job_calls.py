import json
import re

import httpx
import pytest

import clients.api.transport
from clients.client import EgoPackClient
from clients.errors import BadClip, NotFinished, NotFound, ServerFault, TimedOut, Unreachable
from clients.results.jobs import Job, JobEvent
from clients.results.predictions import Progress
from tests.clients.support.awaited import Awaited
from tests.clients.support.stub import serving

JOB = {
    "id": "j1",
    "state": "running",
    "attempt": 1,
    "input": {"kind": "video", "size_bytes": 4, "sha256": "0"},
    "request": {"tasks": ["ar"]},
    "created_at": "2026-03-01T09:30:00.000Z",
    "links": {"self": "/v1/jobs/j1"},
}
PROBLEM = {"code": "undecodable-video", "status": 422, "title": "t", "detail": "d"}
both = pytest.mark.parametrize("made", [EgoPackClient, Awaited])


@pytest.fixture
def clip_path(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"clip")
    return path


@pytest.fixture
def no_naps(monkeypatch):
    async def sleep(_):
        pass

    monkeypatch.setattr(clients.api.transport.time, "sleep", lambda _: None)
    monkeypatch.setattr(clients.api.transport.asyncio, "sleep", sleep)


def mocked(made, handler, **options):
    return made("http://test", transport=httpx.MockTransport(handler), **options)


@both
def test_a_job_is_sent_once_however_often_it_is_sent(no_naps, made, clip_path):
    troubles = [httpx.ReadError("broke"), None, None, None]
    codes = ["idempotency-in-progress", "queue-full"]
    keys, options = [], []

    def handler(request):
        body = request.read()
        keys.append(request.headers["idempotency-key"])
        options.append(json.loads(re.search(rb"\{.*?\}", body).group()))
        assert request.headers["prefer"] == "respond-async"
        if trouble := troubles.pop(0):
            raise trouble
        if codes:
            code = codes.pop(0)
            status = 429 if code == "queue-full" else 409
            return httpx.Response(status, json={"code": code}, headers={"retry-after": "1"})
        return httpx.Response(202, json=JOB)

    with mocked(made, handler) as client:
        job = client.submit(clip_path, tasks=["ar"], webhook_url="https://example.org/x")
        assert job == Job.from_dict(JOB)
        assert len(keys) == 4
        assert len(set(keys)) == 1
        assert options[0] == {"tasks": ["ar"], "webhook_url": "https://example.org/x"}
        troubles.append(None)
        client.submit(clip_path)
    assert keys[-1] != keys[0]
    assert len(keys[-1]) >= 32


@both
def test_pages_are_gone_through_to_the_last(made):
    pages = {None: (["c", "b"], "x"), "x": (["a"], None)}

    def handler(request):
        query = request.url.params
        assert (query["state"], query["limit"]) == ("failed", "2")
        names, after = pages[query.get("cursor")]
        jobs = [JOB | {"id": name, "error": PROBLEM} for name in names]
        return httpx.Response(200, json={"jobs": jobs} | ({"next": after} if after else {}))

    with mocked(made, handler) as client:
        jobs = list(client.jobs(state="failed", page_size=2))
        page = client.job_page(state="failed", limit=2)
    assert [job.id for job in jobs] == ["c", "b", "a"]
    assert jobs[0].error.code == "undecodable-video"
    assert page.next == "x"


class Telling:
    """A job with these events; each connection is cut after a few bytes more than the last."""

    def __init__(self, last, *, cut=lambda tries: 60 * tries):
        self.wire = [
            self.event(number, "progress", {"stage": "features", "windows_done": number})
            for number in range(1, 9)
        ]
        self.wire.append(self.event(9, *last))
        self.cut, self.tries, self.asked_after = cut, 0, []

    @staticmethod
    def event(number, name, data):
        return f"event: {name}\ndata: {json.dumps(data)}\nid: {number}\n\n".encode()

    def __call__(self, handler):
        if not handler.path.endswith("/events"):
            state = "running" if not self.asked_after else "succeeded"
            handler.reply(200, json.dumps(JOB | {"state": state}).encode())
            return
        self.tries += 1
        after = int(handler.headers["Last-Event-ID"])
        self.asked_after.append(after)
        handler.begin_stream()
        handler.wfile.write(
            b": still here\n\n" + b"".join(self.wire[after:])[: self.cut(self.tries)]
        )


@both
@pytest.mark.parametrize(
    ("last", "name"),
    [
        (("completed", {"state": "succeeded"}), "completed"),
        (("error", PROBLEM), "error"),
        (("canceled", {"state": "canceled"}), "canceled"),
    ],
)
def test_every_event_is_heard_once_although_the_connection_keeps_dropping(
    no_naps, made, last, name
):
    server = Telling(last)
    with serving(server) as url, made(url) as client:
        heard = list(client.job_events("j1"))
    assert [event.id for event in heard] == list(range(1, 10))
    assert heard[0] == JobEvent(1, "progress", Progress("features", 1))
    assert heard[-1].name == name
    assert (heard[-1].error is not None) is (name == "error")
    assert len(server.asked_after) > 3
    assert server.asked_after == sorted(server.asked_after)


@both
def test_there_is_nothing_to_hear_after_the_last_event(no_naps, made):
    with serving(Telling(("completed", {}))) as url, made(url) as client:
        assert [event.id for event in client.job_events("j1", after=9)] == []


@both
def test_waiting_ends_with_the_job_and_tells_how_far_it_is(no_naps, made):
    told = []
    with serving(Telling(("completed", {}))) as url, made(url) as client:
        job = client.wait("j1", on_progress=told.append)
        assert job.state == "succeeded"
        assert client.wait("j1") == job  # it has ended: nothing to wait for
    assert [one.windows_done for one in told] == list(range(1, 9))


@both
def test_waiting_may_be_given_up_and_the_job_goes_on(made):
    quiet = Telling(("completed", {}), cut=lambda _: 0)
    with serving(quiet) as url, made(url) as client, pytest.raises(TimedOut):
        client.wait("j1", timeout_s=0.3)


@both
def test_a_server_that_stays_away_is_given_up(no_naps, made, monkeypatch):
    monkeypatch.setattr("clients.api.job_calls.OUTAGE_S", 0.2)

    def handler(request):
        if request.url.path.endswith("/events"):
            raise httpx.ConnectError("gone")
        return httpx.Response(200, json=JOB)

    with mocked(made, handler) as client, pytest.raises(Unreachable):
        client.wait("j1")


@both
def test_a_result_is_the_answer_or_raises_why_there_is_none(made, answer):
    replies = [
        (200, answer, None),
        (422, PROBLEM, BadClip),
        (409, {"code": "job-not-finished", "detail": "the job is canceled"}, NotFinished),
        (404, {"code": "not-found"}, NotFound),
    ]
    for status, body, error in replies:
        reply = httpx.Response(status, json=body)
        with mocked(made, lambda _, reply=reply: reply) as client:
            if error is None:
                assert client.result("j1").id == answer["id"]
            else:
                with pytest.raises(error):
                    client.result("j1")


@both
def test_an_event_without_a_number_or_sense_is_the_servers_fault(made):
    for wire in (b"data: {}\n\n", b"id: 1\ndata: nonsense\n\n", b"id: 1\ndata: 3\n\n"):
        reply = httpx.Response(200, content=wire)
        with mocked(made, lambda _, reply=reply: reply) as client, pytest.raises(ServerFault):
            list(client.job_events("j1"))


def test_an_id_cannot_lead_elsewhere():
    def handler(request):
        assert request.url.raw_path == b"/v1/jobs/..%2F..%2Fx%3Fy/cancel"
        return httpx.Response(202, json=JOB)

    with mocked(EgoPackClient, handler) as client:
        assert client.cancel("../../x?y").is_live
