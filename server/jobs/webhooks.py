"""Webhooks: signed messages about the ends of jobs, from a transactional outbox.

The store writes a message in the transaction that ends its job. Senders claim due messages under
a lease, sign them (HMAC, as Standard Webhooks has it), and retry with back-off until delivered.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime

from sqlalchemy import and_, update
from standardwebhooks import Webhook

from server.jobs.database import DELIVERIES, Database, claim_first
from server.jobs.records import Delivery, Job
from server.jobs.ssrf_safe_client import DeliveryFailed, SsrfSafeClient, UrlRefused
from server.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

BACKOFF_S = (5.0, 30.0, 120.0, 600.0, 1800.0, 7200.0, 21600.0)
"""Waits between attempts; after the last one the message is dropped: about nine hours in all."""


class WebhookOutbox:
    """Messages still to be delivered; they survive a restart. Blocking."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, *, now_s: float, lease_s: float) -> Delivery | None:
        """Claims the message that has been due longest, for one attempt."""
        due = and_(DELIVERIES.c.state == "pending", DELIVERIES.c.due_s <= now_s)
        order, values = (DELIVERIES.c.due_s,), {"due_s": now_s + lease_s}
        with self._database.transaction() as db:
            row = claim_first(db, DELIVERIES, due, order=order, values=values)
            if row is None:
                return None
            return Delivery(**{field.name: row[field.name] for field in fields(Delivery)})

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
    """Sends due messages, one at a time.

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

    async def send_due(self) -> bool:
        """Sends the message that has been due longest; returns whether there was one.

        Raises:
            JobsUnavailable: the store does not answer.
        """
        claim = self._outbox.claim
        delivery = await asyncio.to_thread(claim, now_s=time.time(), lease_s=self._lease_s)
        if delivery is None:
            return False
        job = await asyncio.to_thread(self._find, delivery.job_id)
        is_delivered = job is not None and await self._send(delivery, job)
        is_retried = await asyncio.to_thread(
            self._outbox.settle, delivery, is_delivered=is_delivered, now_s=time.time()
        )
        self._metrics.count_delivery(
            "delivered" if is_delivered else "failed" if is_retried else "given-up"
        )
        if not is_delivered and not is_retried:
            logger.warning("job %s: its webhook is dropped after the last attempt", delivery.job_id)
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
            logger.info("job %s: webhook, attempt %d: %s", job.id, delivery.attempt, error)
            return False
        return True
