"""Webhooks: signed, repeated with one message id, and sent to no other address."""

import asyncio
import json
import time

import pytest
from standardwebhooks import Webhook

from server.jobs.database import DELIVERIES, Database
from server.jobs.records import Delivery
from server.jobs.ssrf_safe_client import SsrfSafeClient
from server.jobs.store import JobStore
from server.jobs.webhooks import (
    BACKOFF_S,
    MAX_OF_CALLER,
    MAX_OF_RECEIVER,
    MAX_SENDS,
    WebhookOutbox,
    WebhookSender,
    next_of,
)
from server.telemetry.metrics import Metrics
from tests.server.jobs.support.receiver import receiving
from tests.server.jobs.test_store import new_job
from tests.support.waiting import wait_until

SECRET = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"


@pytest.fixture
def parts(tmp_path):
    database = Database.in_folder(tmp_path)
    database.create()
    store = JobStore(database)

    def sender_of(client=None, metrics=None):
        return WebhookSender(
            WebhookOutbox(database),
            client or SsrfSafeClient(timeout_s=2, allow_http=True, allow_private=True),
            SECRET,
            find=store.get,
            describe=lambda job: {"id": job.id, "state": job.state},
            timeout_s=2,
            metrics=metrics,
        )

    yield database, store, sender_of
    database.close()


async def send_due(sender):
    """Sends what is due, to the end; tells whether there was anything."""
    has_begun = await sender.start_due()
    await sender.finish()
    return has_begun


def end_job(store, url, caller="me"):
    job = store.add(new_job(caller, webhook_url=url), now_s=time.time())
    store.succeed(store.claim(now_s=time.time(), lease_s=9.0), "r", now_s=1e9, expires_s=2e9)
    return job


def hurry(database):
    """Makes what waits for its next try due now."""
    with database.transaction() as db:
        db.execute(DELIVERIES.update().values(due_s=0.0))


def test_a_message_is_signed_and_says_what_became_of_the_job(parts):
    _, store, sender_of = parts
    with receiving() as receiver:
        job = end_job(store, f"http://127.0.0.1:{receiver.port}/hook")
        assert asyncio.run(send_due(sender_of()))
        assert not asyncio.run(send_due(sender_of()))
    [(path, headers, body)] = receiver.received
    message = Webhook(SECRET).verify(body, headers)
    assert (path, message["type"]) == ("/hook", "job.succeeded")
    assert message["timestamp"] == "2001-09-09T01:46:40Z"
    assert message["data"] == {"id": job.id, "state": "succeeded"}
    assert headers["webhook-id"] == f"msg_{job.id}"
    with pytest.raises(Exception, match="signature"):
        Webhook(SECRET).verify(body.replace(b"succeeded", b"failed!!!"), headers)


def test_a_message_that_is_not_heard_is_repeated_with_its_id_after_a_restart_too(parts):
    database, store, sender_of = parts
    with receiving() as receiver:
        receiver.statuses = [500, 302]
        end_job(store, f"http://127.0.0.1:{receiver.port}/")
        for _ in range(4):
            asyncio.run(send_due(sender_of()))  # a new one each time, as after a restart
            hurry(database)
    assert len(receiver.received) == 3
    assert len({headers["webhook-id"] for _, headers, _ in receiver.received}) == 1
    for _, headers, body in receiver.received:
        assert json.loads(body) == Webhook(SECRET).verify(body, headers)


def test_a_message_to_an_address_of_ours_never_leaves(parts):
    _, store, sender_of = parts
    with receiving() as receiver:
        end_job(store, f"http://127.0.0.1:{receiver.port}/")
        asyncio.run(send_due(sender_of(SsrfSafeClient(timeout_s=2, allow_http=True))))
    assert receiver.received == []


@pytest.mark.parametrize("is_heard", [True, False])
def test_every_try_is_counted_until_it_is_heard_or_given_up(parts, is_heard):
    database, store, sender_of = parts
    metrics = Metrics()
    with receiving() as receiver:
        receiver.statuses = [500] * (2 if is_heard else 99)
        end_job(store, f"http://127.0.0.1:{receiver.port}/")
        sender = sender_of(metrics=metrics)
        while asyncio.run(send_due(sender)):
            hurry(database)

    def count(result):
        labels = {"result": result}
        return metrics.registry.get_sample_value("egopack_webhook_deliveries_total", labels) or 0

    found = [count(result) for result in ("delivered", "failed", "given-up")]
    assert found == ([1, 2, 0] if is_heard else [0, len(BACKOFF_S), 1])
    assert len(receiver.received) == sum(found)


def delivery(job_id, caller="ann", receiver="a.example", attempt=0):
    return Delivery(str(job_id), "", attempt, 1, 0.0, caller, receiver)


def test_turns_are_fair_by_caller_and_receiver_and_bounded_by_both():
    due = [delivery(n) for n in range(9)]
    assert next_of(due, []) == due[0]
    assert next_of(due, due[:2]) == due[2]
    assert next_of(due, due[:MAX_OF_RECEIVER]) is None
    elsewhere = delivery("x", receiver="b.example")
    assert next_of([*due, elsewhere], due[:1]) == elsewhere
    other = delivery("y", caller="bob")
    assert next_of([*due, elsewhere, other], [*due[:2], delivery("z", receiver="c")]) == other
    many = [delivery(n, receiver=str(n)) for n in range(99)]
    assert next_of(many, many[:MAX_OF_CALLER]) is None
    assert next_of([*many, other], many[:MAX_OF_CALLER]) == other
    full = [delivery(n, caller=str(n), receiver=str(n)) for n in range(MAX_SENDS)]
    assert next_of([other], full) is None
    again = delivery("w", attempt=3)
    assert next_of([again, due[0]], []) == due[0]


@pytest.mark.slow(2)
def test_receivers_that_never_answer_delay_nobody_else(parts):
    database, store, sender_of = parts
    heard, begun = [], []

    class Client:
        async def post(self, url, body, headers):
            begun.append(url)
            if "dead" in url:
                await asyncio.Event().wait()
            heard.append(url)

    for number in range(60):
        end_job(store, f"https://dead{number % 40}.example/{number}", caller="ann")
    end_job(store, "https://bob.example/", caller="bob")

    async def main():
        sender = sender_of(Client())
        while await sender.start_due():
            pass
        await wait_until(lambda: heard)
        await wait_until(lambda: len(begun) == MAX_OF_CALLER + 1)
        await sender.stop()

    asyncio.run(main())
    assert heard == ["https://bob.example/"]
