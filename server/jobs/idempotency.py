"""Idempotency keys: the same key and body give the same job, however often they come."""

from dataclasses import dataclass

from sqlalchemy import and_, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from server.errors import KeyInProgress
from server.jobs.database import KEYS, Database


@dataclass(frozen=True)
class EarlierUse:
    """An earlier use of a key.

    Attributes:
        job_id: what it led to.
        body_sha256: what was sent with it.
    """

    job_id: str
    body_sha256: str


class IdempotencyKeys:
    """Which keys are taken; blocking."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def reserve(self, caller: str, key: str, *, now_s: float, hold_s: float) -> EarlierUse | None:
        """Returns an earlier use of the key; otherwise holds it for a body that is coming.

        Args:
            caller: whose key; others may use the same.
            key: as sent.
            now_s: seconds since 1970.
            hold_s: how long a body may take; after that the key counts as free again.

        Raises:
            KeyInProgress: a body with this key is on its way just now.
        """
        mine = and_(KEYS.c.caller == caller, KEYS.c.key == key)
        held = {"reserved_until_s": now_s + hold_s}
        with self._database.transaction() as db:
            kind = postgresql if db.dialect.name == "postgresql" else sqlite
            row = kind.insert(KEYS).values(caller=caller, key=key, **held)
            new = row.on_conflict_do_nothing().returning(KEYS.c.key)
            if db.execute(new).one_or_none() is not None:
                return None
            found = db.execute(select(KEYS).where(mine).with_for_update()).mappings().one_or_none()
            if found is not None and found["job_id"] is not None:
                return EarlierUse(found["job_id"], found["body_sha256"])
            if found is None or found["reserved_until_s"] >= now_s:
                raise KeyInProgress("a request with this Idempotency-Key is being received")
            db.execute(update(KEYS).where(mine).values(**held))
            return None

    def release(self, caller: str, key: str) -> None:
        """Frees a key that led to nothing."""
        unused = and_(KEYS.c.caller == caller, KEYS.c.key == key, KEYS.c.job_id.is_(None))
        with self._database.transaction() as db:
            db.execute(delete(KEYS).where(unused))

    def purge(self, *, now_s: float) -> None:
        """Forgets keys that were held for bodies that never came."""
        stale = and_(KEYS.c.job_id.is_(None), KEYS.c.reserved_until_s < now_s)
        with self._database.transaction() as db:
            db.execute(delete(KEYS).where(stale))
