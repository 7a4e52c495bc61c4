"""Messages about ends of jobs that are still to be delivered; they survive a restart."""

from sqlalchemy import and_, select, update

from server.jobs.database import DELIVERIES, Database
from server.jobs.records import Delivery

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
