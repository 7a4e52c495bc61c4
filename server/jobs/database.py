"""Job database: tables, transactions and claims, in SQLite or PostgreSQL by SQLAlchemy.

Every wait for it is bounded, and its calls have threads of their own.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Connection,
    Double,
    Engine,
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
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy import exc as database_errors
from sqlalchemy.schema import CreateColumn

from server.errors import JobsUnavailable, OutcomeUnknown
from server.jobs.setbacks import store_reason
from server.jobs.threads import Threads
from server.settings.checks import parse_database

ANSWER_S = 5
"""Longest wait for one answer of PostgreSQL, a new connection included, and of a writer in SQLite
for another one."""

STATEMENT_S = 4
"""Longest time of a statement in PostgreSQL, locks included; the server ends it itself."""

THREADS = 8

_META = MetaData()
_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")

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
    Column("caller", String(128)),
    Column("receiver", Text),
    Column("url", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("token", Integer, nullable=False),
    Column("due_s", Double, nullable=False),
    Column("finished_s", Double, nullable=False),
    Index("deliveries_by_due", "state", "due_s"),
)


PROBES = Table(
    "job_probes",
    _META,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("probed_s", Double, nullable=False),
)


class Database:
    """Connections, transactions and threads; its errors are raised as `JobsUnavailable`.

    Attributes:
        outages: how often it did not answer so far.
    """

    def __init__(self, url: str) -> None:
        """Parses the address, but opens nothing before `create`; errors as `parse_database`."""
        parsed = parse_database(url)
        self._file: Path | None = None
        self._is_sqlite = parsed.get_backend_name() == "sqlite"
        self._threads = Threads("job-store", THREADS)
        self.outages = 0
        if self._is_sqlite:
            self._file = None if not parsed.database else Path(parsed.database)
            self._engine = create_engine(parsed, connect_args={"timeout": ANSWER_S})
            event.listen(self._engine, "connect", _prepare_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
        else:
            self._engine = create_engine(parsed, pool_pre_ping=True, pool_timeout=ANSWER_S)
            event.listen(self._engine, "do_connect", _connect_postgresql)
        self._reads = self._engine.execution_options(only_reads=True)

    @classmethod
    def in_folder(cls, folder: Path) -> "Database":
        """Returns the SQLite database of a state folder."""
        return cls(f"sqlite:///{folder / 'jobs.sqlite3'}")

    def create(self) -> None:
        """Creates missing tables, and missing columns of tables made by an earlier version.

        A database in a file is closed to other users of the machine.
        """
        if self._file is not None:
            _keep_private(self._file)
        with self.transaction() as db:
            _META.create_all(db)
            _add_missing_columns(db)

    def close(self) -> None:
        """Closes every connection."""
        self._threads.close()
        self._engine.dispose()

    async def call(
        self, work: Callable[_Given, _Made], *args: _Given.args, **values: _Given.kwargs
    ) -> _Made:
        """Runs blocking work on the database in a thread of its own; errors as `Threads.call`."""
        try:
            return await self._threads.call(work, *args, **values)
        except JobsUnavailable:
            self.outages += 1
            raise

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Yields a connection; commits at the end, or rolls back.

        Raises:
            OutcomeUnknown: the connection was lost during the commit.
            JobsUnavailable: the database does not answer, or refuses to write; nothing was changed.
        """
        with self._transaction(self._engine) as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """As `transaction`, for work that only reads: in SQLite it waits for no writer."""
        with self._transaction(self._reads) as connection:
            yield connection

    def probe(self, *, now_s: float) -> None:
        """Writes one row, as every change of a job does.

        Raises:
            JobsUnavailable: it cannot be written.
        """
        with self.transaction() as db:
            if db.execute(update(PROBES).values(probed_s=now_s)).rowcount == 0:
                db.execute(insert(PROBES).values(id=1, probed_s=now_s))

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[Connection]:
        is_ending = False
        try:
            with engine.begin() as connection:
                yield connection
                is_ending = True
        except (database_errors.DataError, database_errors.IntegrityError):
            raise  # of what was sent to it: the database answers
        except (database_errors.DBAPIError, database_errors.TimeoutError) as error:
            self.outages += 1
            # SQLite undoes a commit that fails; with a lost server, the outcome is unknown.
            kind = OutcomeUnknown if is_ending and not self._is_sqlite else JobsUnavailable
            raise kind(store_reason(error)) from error


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


class _BoundedConnection(psycopg.Connection[Any]):
    """A connection that is closed when an answer takes longer than `ANSWER_S`.

    The server's own time-outs end nothing where the server is frozen, or the network drops packets.
    """

    def wait(self, gen: PQGen[_Made], interval: float = 0.1, timeout: float | None = None) -> _Made:
        try:
            return super().wait(gen, interval, ANSWER_S if timeout is None else timeout)
        except psycopg.OperationalError as error:
            if error.sqlstate is None:  # not said by the server
                self.pgconn.finish()
            raise


def _connect_postgresql(_: object, __: object, args: list[Any], values: dict[str, Any]) -> Any:
    values.setdefault("connect_timeout", ANSWER_S)
    connection = _BoundedConnection.connect(*args, **values)
    connection.execute(f"SET statement_timeout = '{STATEMENT_S}s'")
    connection.commit()
    return connection


def _prepare_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions are begun below, not by the driver
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    """Takes the write lock at once: a read transaction cannot be upgraded after another's write."""
    only_reads = connection.get_execution_options().get("only_reads", False)
    connection.exec_driver_sql("BEGIN" if only_reads else "BEGIN IMMEDIATE")


def _keep_private(file: Path) -> None:
    """Creates a missing database for this user alone; takes an existing one from all others."""
    with suppress(OSError):  # it exists; or it cannot be created, which opening it will say
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    for path in (file, *(file.with_name(file.name + end) for end in ("-wal", "-shm"))):
        with suppress(OSError):  # another user's, who decides
            path.chmod(path.stat().st_mode & ~0o077)


def _add_missing_columns(db: Connection) -> None:
    """Adds new columns, which may be NULL, to tables that were created without them."""
    for table in _META.sorted_tables:
        known = {column["name"] for column in inspect(db).get_columns(table.name)}
        for column in (one for one in table.columns if one.name not in known):
            unless = "" if db.dialect.name == "sqlite" else "IF NOT EXISTS "
            what = CreateColumn(column).compile(dialect=db.dialect)
            db.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {unless}{what}")
