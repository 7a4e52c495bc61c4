"""Idempotency keys: the same key and body give the same job, however often they are sent.

While a body is being received, its key is held by a short lease that its server renews: if that is
killed, the key is free again within the lease.
"""

from dataclasses import dataclass

from sqlalchemy import and_, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from server.errors import KeyInProgress
from server.jobs.database import KEYS, Database


@dataclass(frozen=True)
class EarlierUse:
    """An earlier use of a key: the job it led to, and the hash of the body sent with it."""

    job_id: str
    body_sha256: str


class IdempotencyKeys:
    """Keys in use, by caller; blocking, except `call`, which is `Database.call`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.call = database.call

    def reserve(self, caller: str, key: str, *, now_s: float, hold_s: float) -> EarlierUse | None:
        """Returns an earlier use of the key; otherwise reserves it while its body is received.

        Args:
            caller: owner of the key; callers' keys are independent.
            key: as sent.
            now_s: seconds since 1970.
            hold_s: after that the key is free again, unless its lease was renewed.

        Raises:
            KeyInProgress: another request with this key is being received.
        """
        is_key = and_(KEYS.c.caller == caller, KEYS.c.key == key)
        reservation = {"reserved_until_s": now_s + hold_s}
        with self._database.transaction() as db:
            dialect = postgresql if db.dialect.name == "postgresql" else sqlite
            row = dialect.insert(KEYS).values(caller=caller, key=key, **reservation)
            new = row.on_conflict_do_nothing().returning(KEYS.c.key)
            if db.execute(new).one_or_none() is not None:
                return None
            used = select(KEYS).where(is_key).with_for_update()
            found = db.execute(used).mappings().one_or_none()
            if found is not None and found["job_id"] is not None:
                return EarlierUse(found["job_id"], found["body_sha256"])
            if found is None or found["reserved_until_s"] >= now_s:
                raise KeyInProgress("a request with this Idempotency-Key is being received")
            db.execute(update(KEYS).where(is_key).values(**reservation))
            return None

    def renew(self, caller: str, key: str, *, now_s: float, hold_s: float) -> None:
        """Holds a reserved key for another `hold_s` seconds; one that led to a job stays as it is.

        A lease that runs out because the store was away for too long does no harm: of two
        requests with one key, the store takes the job of the first to end.
        """
        unused = and_(KEYS.c.caller == caller, KEYS.c.key == key, KEYS.c.job_id.is_(None))
        with self._database.transaction() as db:
            db.execute(update(KEYS).where(unused).values(reserved_until_s=now_s + hold_s))

    def release(self, caller: str, key: str) -> None:
        """Frees a reserved key that led to no job."""
        unused = and_(KEYS.c.caller == caller, KEYS.c.key == key, KEYS.c.job_id.is_(None))
        with self._database.transaction() as db:
            db.execute(delete(KEYS).where(unused))

    def purge(self, *, now_s: float) -> None:
        """Deletes reservations whose bodies never arrived."""
        stale = and_(KEYS.c.job_id.is_(None), KEYS.c.reserved_until_s < now_s)
        with self._database.transaction() as db:
            db.execute(delete(KEYS).where(stale))
