"""Job store: durable job queue with leases, one transaction for each change of a job.

A worker claims a job under a lease, with a fencing token that grows with every claim. Once the
lease was not renewed for its length another worker may claim the job; writes with the old token are
then refused (`LeaseLost`). Blocking, except `call`; times are passed in.
"""

from collections.abc import Collection
from dataclasses import asdict
from typing import Any, get_args
from urllib.parse import urlsplit

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, or_, select, update

from server.errors import KeyInProgress, ServerError
from server.jobs.database import DELIVERIES, EVENTS, JOBS, KEYS, Database, claim_first
from server.jobs.leases import LeaseWatch, Stamp
from server.jobs.records import LIVE, Event, InputKind, Job, NewJob, State

Cursor = tuple[float, str]
"""Creation time and id of the last job of a page."""


class LeaseLost(ServerError):
    """The job was canceled, or another worker has claimed it."""


class JobStore:
    """Jobs and their events; changes of a claimed job raise `LeaseLost` once its token is old.

    Attributes:
        call: runs a blocking method in a thread of the store, as `Database.call` does.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._leases = LeaseWatch()
        self.call = database.call

    def add(
        self, new: NewJob, *, now_s: float, key: str | None = None, body_sha256: str = ""
    ) -> Job:
        """Accepts a job, and records it for its idempotency key if it has one.

        Raises:
            KeyInProgress: the key, whose lease had run out, has led to another job.
        """
        job = Job(**asdict(new), created_s=now_s)
        with self._database.transaction() as db:
            db.execute(insert(JOBS).values(**asdict(job)))
            _append_event(db, job.id, "progress", {"stage": "queued", "windows_done": 0})
            if key is not None:
                is_key = and_(KEYS.c.caller == new.caller, KEYS.c.key == key)
                used = {"job_id": job.id, "body_sha256": body_sha256}
                reserved = update(KEYS).where(is_key, KEYS.c.job_id.is_(None)).values(**used)
                if db.execute(reserved).rowcount != 1:
                    raise KeyInProgress("another request with this Idempotency-Key came first")
        return job

    def claim(
        self,
        *,
        now_s: float,
        lease_s: float,
        clock_s: float | None = None,
        kinds: Collection[InputKind] = get_args(InputKind),
    ) -> Job | None:
        """Claims the oldest job that is queued, or whose worker has stopped renewing its lease.

        Args:
            now_s: seconds since 1970.
            lease_s: length of the lease.
            clock_s: now, in seconds of a clock that never steps; default: `now_s`.
            kinds: of the inputs of jobs that may be claimed.
        """
        clock_s = now_s if clock_s is None else clock_s
        running = select(JOBS.c.id, JOBS.c.token, JOBS.c.lease_expires_s)
        is_wanted = JOBS.c.input_kind.in_(kinds)
        queued = select(JOBS.c.id).where(JOBS.c.state == "queued", is_wanted).limit(1)
        outages = self._database.outages
        with self._database.reading() as db:
            leases = db.execute(running.where(JOBS.c.state == "running")).all()
            is_any_queued = db.execute(queued).one_or_none() is not None
        abandoned = self._leases.abandoned(
            {job_id: (token, expires_s) for job_id, token, expires_s in leases},
            clock_s=clock_s,
            lease_s=lease_s,
            outages=outages,
        )
        if not abandoned and not is_any_queued:
            return None
        job = self._claim(is_wanted, abandoned, now_s, lease_s)
        if job is not None:
            self._leases.note(job.id, (job.token, job.lease_expires_s), clock_s=clock_s)
        return job

    def _claim(
        self,
        is_wanted: ColumnElement[bool],
        abandoned: dict[str, Stamp],
        now_s: float,
        lease_s: float,
    ) -> Job | None:
        unrenewed = [
            and_(
                JOBS.c.id == job_id,
                JOBS.c.state == "running",
                JOBS.c.token == token,
                JOBS.c.lease_expires_s == expires_s,
            )
            for job_id, (token, expires_s) in abandoned.items()
        ]
        values = {
            "state": "running",
            "lease_expires_s": now_s + lease_s,
            "started_s": func.coalesce(JOBS.c.started_s, now_s),
        }
        order = (JOBS.c.created_s, JOBS.c.id)
        with self._database.transaction() as db:
            free = and_(is_wanted, or_(JOBS.c.state == "queued", *unrenewed))
            row = claim_first(db, JOBS, free, order=order, values=values)
            return None if row is None else Job(**row)

    def renew(
        self,
        job: Job,
        *,
        now_s: float,
        lease_s: float,
        clock_s: float | None = None,
        progress: dict[str, Any] | None = None,
    ) -> None:
        """Renews the lease of a claimed job, and writes progress if any; times as of `claim`."""
        expires_s = now_s + lease_s
        values: dict[str, Any] = {"lease_expires_s": expires_s}
        if progress is not None:
            values["progress"] = progress
        with self._database.transaction() as db:
            _write(db, job, values)
            if progress is not None:
                _append_event(db, job.id, "progress", progress)
        clock_s = now_s if clock_s is None else clock_s
        self._leases.note(job.id, (job.token, expires_s), clock_s=clock_s)

    def succeed(self, job: Job, result: str, *, now_s: float, expires_s: float) -> None:
        """Ends a claimed job with a result."""
        values = {"state": "succeeded", "result": result, "expires_s": expires_s}
        self._end(job, values, "completed", {"state": "succeeded"}, now_s)

    def fail(self, job: Job, problem: dict[str, Any], *, now_s: float) -> None:
        """Ends a claimed job with problem details."""
        self._end(job, {"state": "failed", "error": problem}, "error", problem, now_s)

    def requeue(self, job: Job, *, counts: bool = False) -> None:
        """Puts a claimed job back into the queue; the attempt is not counted unless `counts`."""
        values: dict[str, Any] = {"state": "queued", "lease_expires_s": None}
        if not counts:
            values["attempt"] = JOBS.c.attempt - 1
        with self._database.transaction() as db:
            _write(db, job, values)
            _append_event(db, job.id, "progress", {"stage": "queued", "windows_done": 0})

    def cancel(self, job_id: str, caller: str, *, now_s: float) -> Job | None:
        """Ends a job that has not ended yet; returns it, None if the caller has no such job."""
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
        """Returns a job, if there is one of this caller; `caller=None`: of any."""
        found = select(JOBS).where(JOBS.c.id == job_id)
        if caller is not None:
            found = found.where(JOBS.c.caller == caller)
        with self._database.reading() as db:
            row = db.execute(found).mappings().one_or_none()
            return None if row is None else Job(**row)

    def page(
        self, caller: str, *, limit: int, after: Cursor | None = None, state: State | None = None
    ) -> list[Job]:
        """Returns a page of a caller's jobs, newest first, after the last job of another page."""
        wanted = [JOBS.c.caller == caller]
        if state is not None:
            wanted.append(JOBS.c.state == state)
        if after is not None:
            created_s, job_id = after
            tie = and_(JOBS.c.created_s == created_s, JOBS.c.id < job_id)
            wanted.append(or_(JOBS.c.created_s < created_s, tie))
        order = (JOBS.c.created_s.desc(), JOBS.c.id.desc())
        with self._database.reading() as db:
            rows = db.execute(select(JOBS).where(*wanted).order_by(*order).limit(limit))
            return [Job(**row) for row in rows.mappings()]

    def events(self, job_id: str, *, after: int = 0, limit: int = 500) -> list[Event]:
        """Returns a job's events after number `after`, in order."""
        later = (
            select(EVENTS.c.seq, EVENTS.c.name, EVENTS.c.data)
            .where(EVENTS.c.job_id == job_id, EVENTS.c.seq > after)
            .order_by(EVENTS.c.seq)
            .limit(limit)
        )
        with self._database.reading() as db:
            return [Event(**row) for row in db.execute(later).mappings()]

    def waiting(self) -> dict[str, tuple[int, int]]:
        """Returns the number of each caller's jobs that have not ended, and their inputs' bytes."""
        live = (
            select(JOBS.c.caller, func.count(), func.sum(JOBS.c.input_bytes))
            .where(JOBS.c.state.in_(LIVE))
            .group_by(JOBS.c.caller)
        )
        with self._database.reading() as db:
            rows = db.execute(live)
            return {caller: (int(count), int(held)) for caller, count, held in rows}

    def referenced_files(self) -> tuple[set[str], set[str]]:
        """Returns the ids of jobs whose input is still needed, and the names of all results."""
        with self._database.reading() as db:
            live = db.execute(select(JOBS.c.id).where(JOBS.c.state.in_(LIVE))).scalars()
            inputs = set(live)
            kept = select(JOBS.c.result).where(JOBS.c.result.is_not(None))
            return inputs, {name for name in db.execute(kept).scalars() if name is not None}

    def counts(self) -> dict[str, int]:
        """Returns the number of jobs in each state; states without any are absent."""
        with self._database.reading() as db:
            by_state = select(JOBS.c.state, func.count()).group_by(JOBS.c.state)
            return {state: int(count) for state, count in db.execute(by_state)}

    def expire(self, *, now_s: float) -> list[Job]:
        """Marks jobs whose results have expired; returns them as they were before."""
        over = and_(JOBS.c.state == "succeeded", JOBS.c.expires_s <= now_s)
        with self._database.reading() as db:
            if db.execute(select(JOBS.c.id).where(over).limit(1)).one_or_none() is None:
                return []
        with self._database.transaction() as db:
            rows = db.execute(select(JOBS).where(over).with_for_update(skip_locked=True))
            jobs = [Job(**row) for row in rows.mappings()]
            gone = JOBS.c.id.in_([job.id for job in jobs])
            db.execute(update(JOBS).where(gone).values(state="expired", result=None))
            return jobs

    def purge(self, *, ended_before_s: float) -> int:
        """Deletes jobs that ended before an instant, except those with a result."""
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


def _write(db: Connection, job: Job, values: dict[str, Any]) -> None:
    """Changes a job under its fencing token; the row stays locked for the transaction."""
    leased = (JOBS.c.id == job.id, JOBS.c.token == job.token, JOBS.c.state == "running")
    if db.execute(update(JOBS).where(*leased).values(**values)).rowcount != 1:
        raise LeaseLost("the job was canceled, or another worker has claimed it")


def _append_event(db: Connection, job_id: str, name: str, data: dict[str, Any]) -> None:
    """Appends an event; the job's row is locked by the same transaction, so numbers are unique."""
    last = select(func.coalesce(func.max(EVENTS.c.seq), 0)).where(EVENTS.c.job_id == job_id)
    seq = db.execute(last).scalar_one() + 1
    db.execute(insert(EVENTS).values(job_id=job_id, seq=seq, name=name, data=data))


def _enqueue_webhook(db: Connection, job: Job, now_s: float) -> None:
    """Transactional outbox: queues the webhook in the transaction that ends the job."""
    if job.webhook_url is not None:
        db.execute(
            insert(DELIVERIES).values(
                job_id=job.id,
                caller=job.caller,
                receiver=urlsplit(job.webhook_url).hostname or "",
                url=job.webhook_url,
                state="pending",
                attempt=0,
                token=0,
                due_s=0.0,  # at once, whatever a clock says
                finished_s=now_s,
            )
        )
