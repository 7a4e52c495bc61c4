"""News of jobs: the events of many jobs with few questions to the database; blocking."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import and_, func, select

from server.jobs.database import EVENTS, JOBS, Database
from server.jobs.records import LIVE, Event

JOBS_AT_ONCE = 200
LIMIT = 500
"""Most events of one job."""


@dataclass(frozen=True)
class News:
    """What is new about a job.

    Attributes:
        events: those that were not known, the oldest first.
        last_seq: number of its newest event; 0: none.
        is_live: it had not ended yet before `events` were read.
    """

    events: list[Event]
    last_seq: int
    is_live: bool


def read_news(database: Database, seen: Mapping[str, int | None]) -> dict[str, News]:
    """Returns what is new about each job, one that is gone included.

    Args:
        database: holds the jobs.
        seen: job -> number of its last event that is known; None: none of them is wanted.
    """
    ids = list(seen)
    found: dict[str, News] = {}
    with database.reading() as db:
        for start in range(0, len(ids), JOBS_AT_ONCE):
            asked = ids[start : start + JOBS_AT_ONCE]
            live = and_(JOBS.c.id.in_(asked), JOBS.c.state.in_(LIVE))
            lives = set(db.execute(select(JOBS.c.id).where(live)).scalars())
            last = select(EVENTS.c.job_id, func.max(EVENTS.c.seq)).group_by(EVENTS.c.job_id)
            lasts = dict(db.execute(last.where(EVENTS.c.job_id.in_(asked))).all())
            for job_id in asked:
                events, known, last_seq = [], seen[job_id], int(lasts.get(job_id, 0))
                if known is not None and known < last_seq:
                    later = and_(EVENTS.c.job_id == job_id, EVENTS.c.seq > known)
                    rows = select(EVENTS.c.seq, EVENTS.c.name, EVENTS.c.data).where(later)
                    rows = rows.order_by(EVENTS.c.seq).limit(LIMIT)
                    events = [Event(**row) for row in db.execute(rows).mappings()]
                found[job_id] = News(events, last_seq, job_id in lives)
    return found
