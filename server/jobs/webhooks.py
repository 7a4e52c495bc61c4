"""Webhooks: signed messages about the ends of jobs, from a transactional outbox.

The store writes a message in the transaction that ends its job. A sender claims due messages by
fair queueing, under a lease, signs them (HMAC, as Standard Webhooks has it), and retries with
back-off until delivered.
"""

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, select, update
from standardwebhooks import Webhook

from server.errors import JobsUnavailable
from server.jobs.database import DELIVERIES, Database, claim_first
from server.jobs.records import Delivery, Job
from server.jobs.ssrf_safe_client import DeliveryFailed, SsrfSafeClient, UrlRefused
from server.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

BACKOFF_S = (5.0, 30.0, 120.0, 600.0, 1800.0, 7200.0, 21600.0)
"""Waits between attempts; after the last one the message is dropped: about nine hours in all."""

_STARTED_S = time.time() - time.monotonic()
_FIELDS = tuple(one.name for one in fields(Delivery))


MAX_SENDS = 64
"""Messages being sent at once."""

MAX_OF_CALLER = 48
"""Of them, most of one caller's jobs: the others' first messages find a place."""

MAX_OF_RECEIVER = 4
"""Of them, most to one host: receivers that never answer do not take all places."""


def next_of(due: Sequence[Delivery], sending: Collection[Delivery]) -> Delivery | None:
    """Returns the message whose turn it is, by fair queueing; None if none has a place.

    It is one of the caller, then to the host, with the fewest messages in flight.

    Args:
        due: in the order of their due times.
        sending: messages being sent.
    """
    callers = Counter(one.caller for one in sending)
    hosts = Counter(one.receiver for one in sending)
    ids = {one.job_id for one in sending}
    free = [
        one
        for one in due
        if one.job_id not in ids
        and callers[one.caller] < MAX_OF_CALLER
        and hosts[one.receiver] < MAX_OF_RECEIVER
    ]
    if len(sending) >= MAX_SENDS or not free:
        return None
    return min(free, key=lambda one: (callers[one.caller], hosts[one.receiver], one.attempt))


class WebhookOutbox:
    """Messages still to be delivered; they survive a restart. Blocking, except `call`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.call = database.call

    def claim(
        self, *, now_s: float, lease_s: float, sending: Collection[Delivery] = ()
    ) -> Delivery | None:
        """Claims a due message for one attempt.

        Args:
            now_s: in seconds, on the clock of earlier calls.
            lease_s: longest time of an attempt; after it another sender may claim the message.
            sending: messages being sent, which decide whose turn it is.
        """
        due = and_(DELIVERIES.c.state == "pending", DELIVERIES.c.due_s <= now_s)
        with self._database.reading() as db:
            rows = db.execute(_first_of_each(due)).mappings()
            found = [Delivery(**row) for row in rows]
        chosen = next_of(found, sending)
        if chosen is None:
            return None
        is_it = and_(due, DELIVERIES.c.job_id == chosen.job_id, DELIVERIES.c.token == chosen.token)
        with self._database.transaction() as db:
            row = claim_first(db, DELIVERIES, is_it, order=(), values={"due_s": now_s + lease_s})
            return None if row is None else Delivery(**{name: row[name] for name in _FIELDS})

    def settle(self, delivery: Delivery, *, is_delivered: bool, now_s: float) -> bool:
        """Records the outcome of an attempt; returns whether another one will follow.

        An attempt that outlasted its lease, so that another one was started, changes nothing.
        """
        is_retried = not is_delivered and delivery.attempt <= len(BACKOFF_S)
        values: dict[str, object] = {"state": "delivered" if is_delivered else "failed"}
        if is_retried:
            values = {"due_s": now_s + BACKOFF_S[delivery.attempt - 1]}
        claimed = and_(
            DELIVERIES.c.job_id == delivery.job_id,
            DELIVERIES.c.token == delivery.token,
            DELIVERIES.c.state == "pending",
        )
        with self._database.transaction() as db:
            db.execute(update(DELIVERIES).where(claimed).values(**values))
        return is_retried


class WebhookSender:
    """Sends due messages, several at a time.

    Args:
        outbox: holds the messages.
        client: posts them, each attempt within `timeout_s` seconds.
        secret: signs them; `whsec_` and base64, as Standard Webhooks has it.
        find: returns a job by its id.
        describe: returns the message's data about a job.
    """

    def __init__(
        self,
        outbox: WebhookOutbox,
        client: SsrfSafeClient,
        secret: str,
        *,
        find: Callable[[str], Job | None],
        describe: Callable[[Job], dict[str, object]],
        timeout_s: float,
        metrics: Metrics | None = None,
    ) -> None:
        self._outbox, self._client, self._webhook = outbox, client, Webhook(secret)
        self._find, self._describe = find, describe
        self._lease_s = 2 * timeout_s + 10
        self._metrics = metrics or Metrics()
        self._sending: dict[str, Delivery] = {}
        self._sends: set[asyncio.Task[None]] = set()

    async def start_due(self) -> bool:
        """Begins to send the message whose turn it is; returns whether there was one.

        Raises:
            JobsUnavailable: the store does not answer.
        """
        delivery = await self._outbox.call(
            self._outbox.claim,
            now_s=steady_now_s(),
            lease_s=self._lease_s,
            sending=tuple(self._sending.values()),
        )
        if delivery is None:
            return False
        self._sending[delivery.job_id] = delivery
        sending = asyncio.create_task(self._deliver(delivery))
        self._sends.add(sending)
        sending.add_done_callback(self._sends.discard)
        return True

    async def finish(self) -> None:
        """Waits for the messages that are being sent."""
        await asyncio.gather(*self._sends)

    async def stop(self) -> None:
        """Gives up the messages that are being sent; their next attempt follows their leases."""
        for sending in self._sends:
            sending.cancel()
        await asyncio.gather(*self._sends, return_exceptions=True)

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            job = await self._outbox.call(self._find, delivery.job_id)
            is_delivered = job is not None and await self._send(delivery, job)
            is_retried = await self._outbox.call(
                self._outbox.settle, delivery, is_delivered=is_delivered, now_s=steady_now_s()
            )
        except JobsUnavailable as error:  # the next attempt follows the lease
            logger.warning("job %s: webhook: %s", delivery.job_id, error)
            return
        finally:
            del self._sending[delivery.job_id]
        self._metrics.count_delivery(
            "delivered" if is_delivered else "failed" if is_retried else "given-up"
        )
        if not is_delivered and not is_retried:
            logger.warning("job %s: its webhook is dropped after the last attempt", delivery.job_id)

    async def _send(self, delivery: Delivery, job: Job) -> bool:
        ended = datetime.fromtimestamp(delivery.finished_s, UTC)
        message = {
            "type": f"job.{job.state}",
            "timestamp": ended.isoformat().replace("+00:00", "Z"),
            "data": self._describe(job),
        }
        body = json.dumps(message, separators=(",", ":"))
        now = datetime.now(UTC)
        headers = {
            "Content-Type": "application/json",
            "Webhook-Id": delivery.message_id,
            "Webhook-Timestamp": str(int(now.timestamp())),
            "Webhook-Signature": self._webhook.sign(delivery.message_id, now, body),
        }
        try:
            await self._client.post(delivery.url, body.encode(), headers)
        except (UrlRefused, DeliveryFailed) as error:
            logger.info("job %s: webhook, attempt %d: %s", job.id, delivery.attempt, error)
            return False
        return True


def steady_now_s() -> float:
    """Returns the time in seconds since 1970, which a step of the machine's clock does not move."""
    return _STARTED_S + time.monotonic()


def _first_of_each(due: ColumnElement[bool]) -> Select[Any]:
    """The due messages that have waited longest, a few for each caller and host."""
    columns = [DELIVERIES.c[name] for name in _FIELDS]
    whose = func.coalesce(DELIVERIES.c.caller, ""), func.coalesce(DELIVERIES.c.receiver, "")
    place = func.row_number().over(partition_by=whose, order_by=DELIVERIES.c.due_s)
    ranked = select(*columns, DELIVERIES.c.due_s, place.label("place")).where(due).subquery()
    found = select(*(ranked.c[name] for name in _FIELDS))
    return found.where(ranked.c.place <= MAX_OF_RECEIVER).order_by(ranked.c.place, ranked.c.due_s)
