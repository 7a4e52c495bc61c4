import os
import sqlite3
from contextlib import closing

import pytest

from server.errors import JobsUnavailable
from server.jobs.database import Database
from server.jobs.store import JobStore
from server.jobs.webhooks import WebhookOutbox
from tests.server.jobs.test_store import new_job


def test_a_database_that_is_not_there_says_so(tmp_path):
    for url in (f"sqlite:///{tmp_path}/no/folder/db", "postgresql://x@/x?host=/no/such/folder"):
        database = Database(url)
        with pytest.raises(JobsUnavailable):
            JobStore(database).get("x")
        database.close()


@pytest.mark.parametrize("url", ["mysql://host/x", "nonsense", "", "sqlite+nothing:///x"])
def test_other_addresses_are_refused(url):
    with pytest.raises(ValueError, match="address of jobs"):
        Database(url)


def test_reads_wait_for_no_writer(tmp_path):
    database = Database.in_folder(tmp_path)
    database.create()
    store = JobStore(database)
    job = store.add(new_job(), now_s=0.0)
    claimed = store.claim(now_s=0.0, lease_s=9.0)
    with closing(sqlite3.connect(tmp_path / "jobs.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert store.get(job.id) == claimed
        assert store.page("me", limit=9) == [claimed]
        assert len(store.events(job.id)) == 1
        assert (store.waiting()["me"][0], store.counts()) == (1, {"running": 1})
        assert store.referenced_files() == ({job.id}, set())
        assert store.expire(now_s=0.0) == []
        assert store.claim(now_s=0.0, lease_s=9.0) is None
        assert WebhookOutbox(database).claim(now_s=0.0, lease_s=9.0) is None
    database.close()


def test_a_writer_waits_in_bounded_time(tmp_path, monkeypatch):
    monkeypatch.setattr("server.jobs.database.ANSWER_S", 0.05)
    database = Database.in_folder(tmp_path)
    database.create()
    with closing(sqlite3.connect(tmp_path / "jobs.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JobsUnavailable):
            database.probe(now_s=0.0)
    database.probe(now_s=0.0)
    assert database.outages == 1
    database.close()


@pytest.mark.service
@pytest.mark.slow(4)
def test_a_frozen_server_is_given_up_and_used_again(postgres, monkeypatch):
    """Its kernel still takes what is sent, so that only the client's own clock notices."""
    monkeypatch.setattr("server.jobs.database.ANSWER_S", 1)
    database = Database(postgres.url("postgres"))
    store = JobStore(database)
    database.create()
    with postgres.frozen():
        for work in (lambda: store.get("x"), lambda: store.add(new_job(), now_s=0.0)):
            with pytest.raises(JobsUnavailable):
                work()
    monkeypatch.setattr("server.jobs.database.ANSWER_S", 60)
    assert store.get("x") is None
    database.close()


def test_a_full_or_read_only_store_is_called_so(tmp_path):
    database = Database.in_folder(tmp_path)
    database.create()
    with database.transaction() as db:
        pages = db.exec_driver_sql("PRAGMA page_count").scalar_one()
    big = "CREATE TABLE big AS SELECT randomblob(99999) AS x"
    for way, what, reason in (
        (f"max_page_count = {pages}", big, "the disk of the job store is full"),
        ("query_only = ON", "DELETE FROM jobs", "read-only"),
    ):
        with pytest.raises(JobsUnavailable, match=reason), database.transaction() as db:
            [db.exec_driver_sql(one) for one in (f"PRAGMA {way}", what)]
    database.close()


def test_tables_of_an_earlier_version_get_the_columns_they_lack(database):
    for name in ("caller", "receiver"):
        with database.transaction() as db:
            db.exec_driver_sql(f"ALTER TABLE job_deliveries DROP COLUMN {name}")
    with database.transaction() as db:
        db.exec_driver_sql("DROP TABLE job_probes")
    database.create()
    database.create()
    store = JobStore(database)
    job = store.add(new_job(webhook_url="https://a.example/x"), now_s=0.0)
    store.succeed(store.claim(now_s=0.0, lease_s=9.0), "r", now_s=1.0, expires_s=9.0)
    found = WebhookOutbox(database).claim(now_s=1.0, lease_s=9.0)
    assert (found.job_id, found.caller, found.receiver) == (job.id, "me", "a.example")
    database.probe(now_s=1.0)


def test_nobody_else_on_the_machine_can_read_a_database(tmp_path):
    before = os.umask(0o022)
    try:
        with closing(sqlite3.connect(tmp_path / "jobs.sqlite3")) as old:
            old.execute("PRAGMA journal_mode=WAL")
            old.execute("CREATE TABLE x (y)")
            for folder in (tmp_path, tmp_path / "new"):
                folder.mkdir(exist_ok=True)
                database = Database.in_folder(folder)
                database.create()
                modes = {path.name: path.stat().st_mode & 0o077 for path in folder.glob("jobs.*")}
                assert modes == dict.fromkeys(modes, 0)
                assert len(modes) == 3
                database.close()
    finally:
        os.umask(before)
