"""Job database: tables, transactions and claims, in SQLite or PostgreSQL by SQLAlchemy."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    RowMapping,
    String,
    Table,
    Text,
    create_engine,
    event,
    select,
    update,
)
from sqlalchemy.exc import DBAPIError

from server.errors import JobsUnavailable
from server.settings.checks import parse_database

BUSY_S = 15
"""Longest wait of a writer for another one, in SQLite."""

_META = MetaData()

JOBS = Table(
    "jobs",
    _META,
    Column("id", String(64), primary_key=True),
    Column("caller", String(128), nullable=False),
    Column("state", String(16), nullable=False),
    Column("request", JSON, nullable=False),
    Column("input_kind", String(16), nullable=False),
    Column("input_bytes", Double, nullable=False),
    Column("input_sha256", String(64), nullable=False),
    Column("webhook_url", Text),
    Column("attempt", Integer, nullable=False),
    Column("token", Integer, nullable=False),
    Column("lease_expires_s", Double),
    Column("progress", JSON(none_as_null=True)),
    Column("result", String(128)),
    Column("error", JSON(none_as_null=True)),
    Column("created_s", Double, nullable=False),
    Column("started_s", Double),
    Column("finished_s", Double),
    Column("expires_s", Double),
    Index("jobs_by_state", "state", "created_s"),
    Index("jobs_by_caller", "caller", "created_s", "id"),
)


def _of_job(**options: Any) -> Column[str]:
    return Column("job_id", String(64), ForeignKey("jobs.id", ondelete="CASCADE"), **options)


EVENTS = Table(
    "job_events",
    _META,
    _of_job(primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("name", String(16), nullable=False),
    Column("data", JSON, nullable=False),
)

KEYS = Table(
    "job_keys",
    _META,
    Column("caller", String(128), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("body_sha256", String(64)),
    _of_job(),
    Column("reserved_until_s", Double, nullable=False),
)

DELIVERIES = Table(
    "job_deliveries",
    _META,
    _of_job(primary_key=True),
    Column("url", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("token", Integer, nullable=False),
    Column("due_s", Double, nullable=False),
    Column("finished_s", Double, nullable=False),
    Index("deliveries_by_due", "state", "due_s"),
)


class Database:
    """Connections and transactions; database errors are raised as `JobsUnavailable`."""

    def __init__(self, url: str) -> None:
        """Parses the address, but opens nothing before `create`; errors as `parse_database`."""
        parsed = parse_database(url)
        is_sqlite = parsed.get_backend_name() == "sqlite"
        options: dict[str, Any] = {"pool_pre_ping": True}
        if is_sqlite:
            options = {"connect_args": {"timeout": BUSY_S}}
        self._engine = create_engine(parsed, **options)
        if is_sqlite:
            event.listen(self._engine, "connect", _prepare_sqlite)
            event.listen(self._engine, "begin", _begin_writing)

    @classmethod
    def in_folder(cls, folder: Path) -> "Database":
        """Returns the SQLite database of a state folder."""
        return cls(f"sqlite:///{folder / 'jobs.sqlite3'}")

    def create(self) -> None:
        """Creates missing tables."""
        with self.transaction() as db:
            _META.create_all(db)

    def close(self) -> None:
        """Closes every connection."""
        self._engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yields a connection; commits at the end, or rolls back."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            raise JobsUnavailable("the store of jobs does not answer") from error


def claim_first(
    db: Connection,
    table: Table,
    is_free: ColumnElement[bool],
    *,
    order: Sequence[ColumnElement[Any]],
    values: Mapping[str, Any],
) -> RowMapping | None:
    """Changes and returns the first free row, skipping rows that other transactions hold.

    `attempt` and `token` go up by one; with its token, a worker proves that it made the last claim.
    """
    key = table.primary_key.columns[0]
    first = (
        select(key)
        .where(is_free)
        .order_by(*order)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    counters = {name: table.c[name] + 1 for name in ("attempt", "token")}
    claim = update(table).where(key == first, is_free).values(**counters, **values)
    return db.execute(claim.returning(table)).mappings().one_or_none()


def _prepare_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions are begun below, not by the driver
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_writing(connection: Connection) -> None:
    """Takes the write lock at once: a read transaction cannot be upgraded after another's write."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
