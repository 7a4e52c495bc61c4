"""Webhooks: tells of ends of jobs, signed as Standard Webhooks says, until it is heard."""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime

from standardwebhooks import Webhook

from server.jobs.deliveries import WebhookOutbox
from server.jobs.records import Delivery, Job
from server.jobs.ssrf_safe_client import DeliveryFailed, SsrfSafeClient, UrlRefused
from server.telemetry.metrics import Metrics

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
