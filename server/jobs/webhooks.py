"""Webhooks: tells of ends of jobs, signed as Standard Webhooks says, until it is heard."""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from sqlalchemy import and_, select, update
from standardwebhooks import Webhook

from server.jobs.database import DELIVERIES, Database
from server.jobs.records import Delivery, Job
from server.jobs.ssrf_safe_client import DeliveryFailed, SsrfSafeClient, UrlRefused
from server.telemetry.metrics import Metrics

BACKOFF_S = (5.0, 30.0, 120.0, 600.0, 1800.0, 7200.0, 21600.0)
"""Waits between tries; after the last one we give up: about nine hours in all."""


class WebhookOutbox:
    """Who is to be told what, and when to try again; blocking."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, *, now_s: float, lease_s: float) -> Delivery | None:
        """Takes the delivery that has been due longest, for one try."""
        due = and_(DELIVERIES.c.state == "pending", DELIVERIES.c.due_s <= now_s)
        oldest = (
            select(DELIVERIES.c.job_id)
            .where(due)
            .order_by(DELIVERIES.c.due_s)
            .limit(1)
            .with_for_update(skip_locked=True)
            .scalar_subquery()
        )
        columns = ("job_id", "url", "attempt", "token", "finished_s")
        taken = (
            update(DELIVERIES)
            .where(DELIVERIES.c.job_id == oldest, due)
            .values(
                attempt=DELIVERIES.c.attempt + 1,
                token=DELIVERIES.c.token + 1,
                due_s=now_s + lease_s,
            )
            .returning(*(DELIVERIES.c[name] for name in columns))
        )
        with self._database.transaction() as db:
            row = db.execute(taken).mappings().one_or_none()
            return None if row is None else Delivery(**row)

    def settle(self, delivery: Delivery, *, is_delivered: bool, now_s: float) -> bool:
        """Notes how a try went; returns whether another one will follow.

        A try that took longer than its lease, so that another one was begun, changes nothing.
        """
        tries_left = delivery.attempt <= len(BACKOFF_S)
        values: dict[str, object] = {"state": "delivered" if is_delivered else "failed"}
        if not is_delivered and tries_left:
            values = {"due_s": now_s + BACKOFF_S[delivery.attempt - 1]}
        ours = and_(
            DELIVERIES.c.job_id == delivery.job_id,
            DELIVERIES.c.token == delivery.token,
            DELIVERIES.c.state == "pending",
        )
        with self._database.transaction() as db:
            db.execute(update(DELIVERIES).where(ours).values(**values))
        return not is_delivered and tries_left


logger = logging.getLogger(__name__)

Describe = Callable[[Job], dict[str, object]]
"""What callers are told of a job."""


class WebhookSender:
    """Sends what is due, one message at a time."""

    def __init__(
        self,
        queue: WebhookOutbox,
        client: SsrfSafeClient,
        secret: str,
        *,
        find: Callable[[str], Job | None],
        describe: Describe,
        timeout_s: float,
        metrics: Metrics | None = None,
    ) -> None:
        """Wires the parts.

        Args:
            queue: what is due.
            client: sends it.
            secret: signs it; `whsec_` and base64, as Standard Webhooks has it.
            find: returns a job by its id.
            describe: what a message says of it.
            timeout_s: what `client` gives one try.
            metrics: counts tries; default: nobody looks.
        """
        self._queue, self._client, self._webhook = queue, client, Webhook(secret)
        self._find, self._describe = find, describe
        self._lease_s = 2 * timeout_s + 10
        self._metrics = metrics or Metrics()

    async def send_due(self) -> bool:
        """Sends the message that is due longest; returns whether there was one.

        Raises:
            JobsUnavailable: the store does not answer.
        """
        claim = self._queue.claim
        delivery = await asyncio.to_thread(claim, now_s=time.time(), lease_s=self._lease_s)
        if delivery is None:
            return False
        job = await asyncio.to_thread(self._find, delivery.job_id)
        is_delivered = job is not None and await self._send(delivery, job)
        again = await asyncio.to_thread(
            self._queue.settle, delivery, is_delivered=is_delivered, now_s=time.time()
        )
        given_up = not is_delivered and not again
        self._metrics.count_delivery(
            "delivered" if is_delivered else "given-up" if given_up else "failed"
        )
        if given_up:
            logger.warning("job %s: giving up its webhook", delivery.job_id)
        return True

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
            logger.info("job %s: webhook, try %d: %s", job.id, delivery.attempt, error)
            return False
        return True


def check_secret(secret: str) -> None:
    """Raises unless a secret can sign.

    Raises:
        ValueError: it is not `whsec_` and base64 of 24 to 64 bytes.
    """
    import base64
    import binascii

    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("webhook_secret: expected `whsec_` and base64") from error
    if not 24 <= len(key) <= 64:
        raise ValueError(f"webhook_secret: expected base64 of 24 to 64 bytes, got {len(key)}")
