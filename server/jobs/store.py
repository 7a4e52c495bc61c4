"""JobStore: every change of a job is one transaction, and only the holder of its lease writes.

A worker claims a job for a while, with a token that grows with every claim. When its lease ends
another worker may claim the job; from then on the first one's writes are refused (`LeaseLost`).
Blocking; the clock is the caller's.
"""

from dataclasses import fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, or_, select, update

from server.errors import ServerError
from server.jobs.database import DELIVERIES, EVENTS, JOBS, KEYS, Database
from server.jobs.records import LIVE, Event, Job, NewJob, State

Cursor = tuple[float, str]
"""Creation time and id of the last job of a page."""


class LeaseLost(ServerError):
    """The job was canceled, or another worker has it by now."""


class JobStore:
    """Jobs and their events."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, new: NewJob, *, now_s: float, key: str | None = None, body_sha256: str = ""
    ) -> Job:
        """Accepts a job, and ties its idempotency key to it if it has one."""
        values = {field.name: getattr(new, field.name) for field in fields(NewJob)}
        job = Job(**values, created_s=now_s)
        with self._database.transaction() as db:
            db.execute(insert(JOBS).values(**_row(job)))
            _append_event(db, job.id, "progress", {"stage": "queued", "windows_done": 0})
            if key is not None:
                tied = {"job_id": job.id, "body_sha256": body_sha256}
                mine = and_(KEYS.c.caller == new.caller, KEYS.c.key == key)
                db.execute(update(KEYS).where(mine).values(**tied))
        return job

    def claim(self, *, now_s: float, lease_s: float) -> Job | None:
        """Takes the oldest job that nobody works on: queued, or its worker's lease has ended."""
        free = or_(JOBS.c.state == "queued", _is_orphaned(now_s))
        oldest = (
            select(JOBS.c.id)
            .where(free)
            .order_by(JOBS.c.created_s, JOBS.c.id)
            .limit(1)
            .with_for_update(skip_locked=True)
            .scalar_subquery()
        )
        taken = (
            update(JOBS)
            .where(JOBS.c.id == oldest, free)
            .values(
                state="running",
                attempt=JOBS.c.attempt + 1,
                token=JOBS.c.token + 1,
                lease_expires_s=now_s + lease_s,
                started_s=func.coalesce(JOBS.c.started_s, now_s),
            )
            .returning(JOBS)
        )
        with self._database.transaction() as db:
            row = db.execute(taken).mappings().one_or_none()
            return None if row is None else Job(**row)

    def renew(
        self, job: Job, *, now_s: float, lease_s: float, progress: dict[str, Any] | None = None
    ) -> None:
        """Keeps a claimed job for longer, with news of it if there are any.

        Raises:
            LeaseLost: it is no longer ours.
        """
        values: dict[str, Any] = {"lease_expires_s": now_s + lease_s}
        if progress is not None:
            values["progress"] = progress
        with self._database.transaction() as db:
            _write(db, job, values)
            if progress is not None:
                _append_event(db, job.id, "progress", progress)

    def succeed(self, job: Job, result: str, *, now_s: float, expires_s: float) -> None:
        """Ends a claimed job with a result.

        Raises:
            LeaseLost: it is no longer ours.
        """
        values = {"state": "succeeded", "result": result, "expires_s": expires_s}
        self._end(job, values, "completed", {"state": "succeeded"}, now_s)

    def fail(self, job: Job, problem: dict[str, Any], *, now_s: float) -> None:
        """Ends a claimed job with the problem it met.

        Raises:
            LeaseLost: it is no longer ours.
        """
        self._end(job, {"state": "failed", "error": problem}, "error", problem, now_s)

    def requeue(self, job: Job, *, counts: bool = False) -> None:
        """Hands a claimed job back.

        Args:
            job: as it was claimed.
            counts: whether the attempt counts.

        Raises:
            LeaseLost: it is no longer ours.
        """
        values: dict[str, Any] = {"state": "queued", "lease_expires_s": None}
        if not counts:
            values["attempt"] = JOBS.c.attempt - 1
        with self._database.transaction() as db:
            _write(db, job, values)
            _append_event(db, job.id, "progress", {"stage": "queued", "windows_done": 0})

    def cancel(self, job_id: str, caller: str, *, now_s: float) -> Job | None:
        """Ends a job that has not ended yet; returns it as it is now."""
        live = (
            update(JOBS)
            .where(JOBS.c.id == job_id, JOBS.c.caller == caller, JOBS.c.state.in_(LIVE))
            .values(state="canceled", finished_s=now_s, lease_expires_s=None)
            .returning(JOBS)
        )
        with self._database.transaction() as db:
            row = db.execute(live).mappings().one_or_none()
            if row is not None:
                job = Job(**row)
                _append_event(db, job.id, "canceled", {"state": "canceled"})
                _enqueue_webhook(db, job, now_s)
                return job
        return self.get(job_id, caller)

    def get(self, job_id: str, caller: str | None = None) -> Job | None:
        """Returns a job, if there is one that this caller may see; None stands for ourselves."""
        found = select(JOBS).where(JOBS.c.id == job_id)
        if caller is not None:
            found = found.where(JOBS.c.caller == caller)
        with self._database.transaction() as db:
            row = db.execute(found).mappings().one_or_none()
            return None if row is None else Job(**row)

    def page(
        self, caller: str, *, limit: int, after: Cursor | None = None, state: State | None = None
    ) -> list[Job]:
        """Returns a caller's jobs, the newest first.

        Args:
            caller: whose.
            limit: most jobs of the page.
            after: where the page before ended.
            state: only those in it.
        """
        wanted = [JOBS.c.caller == caller]
        if state is not None:
            wanted.append(JOBS.c.state == state)
        if after is not None:
            created_s, job_id = after
            tie = and_(JOBS.c.created_s == created_s, JOBS.c.id < job_id)
            wanted.append(or_(JOBS.c.created_s < created_s, tie))
        order = (JOBS.c.created_s.desc(), JOBS.c.id.desc())
        with self._database.transaction() as db:
            rows = db.execute(select(JOBS).where(*wanted).order_by(*order).limit(limit))
            return [Job(**row) for row in rows.mappings()]

    def events(self, job_id: str, *, after: int = 0, limit: int = 500) -> list[Event]:
        """Returns a job's events in order, those up to number `after` left out."""
        later = (
            select(EVENTS.c.seq, EVENTS.c.name, EVENTS.c.data)
            .where(EVENTS.c.job_id == job_id, EVENTS.c.seq > after)
            .order_by(EVENTS.c.seq)
            .limit(limit)
        )
        with self._database.transaction() as db:
            return [Event(**row) for row in db.execute(later).mappings()]

    def waiting(self) -> tuple[int, int]:
        """Returns how many jobs have not ended, and the bytes of what was sent with them."""
        total = select(func.count(), func.coalesce(func.sum(JOBS.c.input_bytes), 0))
        with self._database.transaction() as db:
            count, size_bytes = db.execute(total.where(JOBS.c.state.in_(LIVE))).one()
            return int(count), int(size_bytes)

    def referenced_files(self) -> tuple[set[str], set[str]]:
        """Returns the jobs whose input is still needed, and the results still to be had."""
        with self._database.transaction() as db:
            live = db.execute(select(JOBS.c.id).where(JOBS.c.state.in_(LIVE))).scalars()
            inputs = set(live)
            kept = select(JOBS.c.result).where(JOBS.c.result.is_not(None))
            return inputs, {name for name in db.execute(kept).scalars() if name is not None}

    def counts(self) -> dict[str, int]:
        """Returns how many jobs are in each state that any is in."""
        with self._database.transaction() as db:
            by_state = select(JOBS.c.state, func.count()).group_by(JOBS.c.state)
            return {state: int(count) for state, count in db.execute(by_state)}

    def expire(self, *, now_s: float) -> list[Job]:
        """Takes back results whose time is over; returns the jobs as they were."""
        over = and_(JOBS.c.state == "succeeded", JOBS.c.expires_s <= now_s)
        with self._database.transaction() as db:
            rows = db.execute(select(JOBS).where(over).with_for_update(skip_locked=True))
            jobs = [Job(**row) for row in rows.mappings()]
            gone = JOBS.c.id.in_([job.id for job in jobs])
            db.execute(update(JOBS).where(gone).values(state="expired", result=None))
            return jobs

    def purge(self, *, ended_before_s: float) -> int:
        """Forgets jobs that ended before an instant, but for results still to be had."""
        states: list[State] = ["failed", "canceled", "expired"]
        old = and_(JOBS.c.state.in_(states), JOBS.c.finished_s < ended_before_s)
        with self._database.transaction() as db:
            return db.execute(delete(JOBS).where(old)).rowcount

    def _end(
        self, job: Job, values: dict[str, Any], event: str, data: dict[str, Any], now_s: float
    ) -> None:
        with self._database.transaction() as db:
            _write(db, job, {**values, "finished_s": now_s, "lease_expires_s": None})
            _append_event(db, job.id, event, data)
            _enqueue_webhook(db, job, now_s)


def _is_orphaned(now_s: float) -> ColumnElement[bool]:
    return and_(JOBS.c.state == "running", JOBS.c.lease_expires_s < now_s)


def _row(job: Job) -> dict[str, Any]:
    return {field.name: getattr(job, field.name) for field in fields(Job)}


def _write(db: Connection, job: Job, values: dict[str, Any]) -> None:
    """Changes a job that is still claimed with this token; the row stays locked until the end."""
    ours = (JOBS.c.id == job.id, JOBS.c.token == job.token, JOBS.c.state == "running")
    if db.execute(update(JOBS).where(*ours).values(**values)).rowcount != 1:
        raise LeaseLost("the job was canceled, or another worker has it")


def _append_event(db: Connection, job_id: str, name: str, data: dict[str, Any]) -> None:
    """Appends an event; the job's row is locked by the same transaction, so numbers are unique."""
    last = select(func.coalesce(func.max(EVENTS.c.seq), 0)).where(EVENTS.c.job_id == job_id)
    seq = db.execute(last).scalar_one() + 1
    db.execute(insert(EVENTS).values(job_id=job_id, seq=seq, name=name, data=data))


def _enqueue_webhook(db: Connection, job: Job, now_s: float) -> None:
    """Has the end of a job delivered, in the same transaction as the end: once, or not at all."""
    if job.webhook_url is not None:
        db.execute(
            insert(DELIVERIES).values(
                job_id=job.id,
                url=job.webhook_url,
                state="pending",
                attempt=0,
                token=0,
                due_s=now_s,
                finished_s=now_s,
            )
        )
