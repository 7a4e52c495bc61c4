"""Readers of job events: one poll for all of them, and no more of them than there are places."""

import asyncio
import json
import threading
from contextlib import asynccontextmanager
from functools import partial

import pytest

from server.api.events import feed as event_feed
from server.api.events.feed import EventFeed
from server.errors import JobsUnavailable
from server.jobs.database import Database
from server.jobs.news import read_news
from server.jobs.store import JobStore
from server.scheduling.shares import Shares
from tests.server.conftest import assert_problem
from tests.server.jobs.support.job_requests import submit, until_ended
from tests.server.jobs.test_store import new_job
from tests.server.support.fakes import clip
from tests.server.support.open_upload import OpenUpload
from tests.server.support.probe import NOISE, probing
from tests.support.waiting import PATIENCE_S, wait_for, wait_until

LEASE_S = 60.0


class CountingStore(JobStore):
    """A store that counts what it is asked for."""

    def __init__(self, database):
        super().__init__(database)
        self.reads, self.polls = 0, 0
        self.is_away = False

    def events(self, job_id, **values):
        self.reads += 1
        return super().events(job_id, **values)

    def news(self, seen):
        self.polls += 1
        if self.is_away:
            raise JobsUnavailable("away")
        return read_news(self._database, seen)


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(event_feed, "POLL_S", 0.01)
    database = Database.in_folder(tmp_path)
    database.create()
    yield CountingStore(database)
    database.close()


def running_job(store):
    store.add(new_job(), now_s=0.0)
    return store.claim(now_s=1.0, lease_s=LEASE_S)


def progress(store, job, count=1):
    for number in range(count):
        store.renew(job, now_s=2.0, lease_s=LEASE_S, progress={"windows_done": number})


def feed_of(store, **values):
    chosen = {"places": Shares(1000), "is_open": lambda: True, **values}
    return EventFeed(store, store.news, **chosen)


class Reader:
    """A stream that is read to its end."""

    def __init__(self, feed, job, *, after=0):
        self.numbers, self.names, self.beats = [], [], 0
        self.task = asyncio.ensure_future(self._read(feed.follow(job, after=after)))

    async def _read(self, lines):
        async for line in lines:
            if line.startswith(b":"):
                self.beats += 1
                continue
            fields = dict(part.split(b": ", 1) for part in line.strip().split(b"\n"))
            self.numbers.append(int(fields[b"id"]))
            self.names.append(fields[b"event"].decode())
            json.loads(fields[b"data"])


@asynccontextmanager
async def reading(feed, job, count, **values):
    readers = [Reader(feed, job, **values) for _ in range(count)]
    yield readers
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(reader.task for reader in readers))


def all_know(readers, count):
    return all(len(reader.numbers) == count for reader in readers)


def test_many_readers_cost_no_more_questions_than_one(store):
    async def asked(count):
        job, feed = running_job(store), feed_of(store)
        store.reads = 0
        async with reading(feed, job, count) as readers:
            for known in (1, 2, 3):
                await wait_until(partial(all_know, readers, known))
                await asyncio.to_thread(progress, store, job)
            await wait_until(partial(all_know, readers, 4))
            before = store.reads
            store.succeed(job, "x", now_s=3.0, expires_s=9.0)
        assert all(reader.numbers == [1, 2, 3, 4, 5] for reader in readers)
        assert all(reader.names[-1] == "completed" for reader in readers)
        assert store.reads == before  # the newest are shared
        return store.reads / count

    async def main():
        assert await asked(50) <= 3  # each reads what was there before it came

    asyncio.run(main())
    polls = store.polls
    asyncio.run(asyncio.sleep(0.05))
    assert store.polls == polls  # nobody reads any more


def test_a_reader_far_behind_gets_every_event_once(store):
    async def main():
        job, feed = running_job(store), feed_of(store)
        async with reading(feed, job, 1) as (first,):
            await wait_until(lambda: store.polls > 1)
            await asyncio.to_thread(
                progress, store, job, 600
            )  # more than is shared, or read at once
            late = [Reader(feed, job, after=after) for after in (0, 300, 590)]
            await wait_until(lambda: first.numbers[-1:] == [601])
            store.succeed(job, "x", now_s=3.0, expires_s=9.0)
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.gather(*(reader.task for reader in late))
        for reader, after in ((first, 0), *zip(late, (0, 300, 590), strict=True)):
            assert reader.numbers == list(range(after + 1, 603))

    asyncio.run(main())


def test_a_number_that_was_never_given_spoils_nobody_elses_stream(store):
    async def main():
        job, feed = running_job(store), feed_of(store)
        async with (
            reading(feed, job, 1, after=2**31 - 1) as (odd,),
            reading(feed, job, 1) as (good,),
        ):
            await wait_until(lambda: store.polls > 1)
            await asyncio.to_thread(progress, store, job)
            await wait_until(lambda: good.numbers == [1, 2])
            store.cancel(job.id, "me", now_s=3.0)
        assert (odd.numbers, good.names[-1]) == ([], "canceled")

    asyncio.run(main())


def test_streams_outlive_a_store_that_is_away_and_end_with_the_server(store):
    is_open = True

    async def main():
        nonlocal is_open
        job = running_job(store)
        feed = feed_of(store, is_open=lambda: is_open, heartbeat_s=0.02)
        async with reading(feed, job, 2) as readers:
            store.is_away = True
            await wait_until(lambda: all(reader.beats > 1 for reader in readers))
            await asyncio.to_thread(progress, store, job)
            store.is_away = False
            await wait_until(lambda: all(reader.numbers == [1, 2] for reader in readers))
            is_open = False

    asyncio.run(main())


@pytest.fixture
def live(serve_jobs):
    """Starts an app with a job that runs until the gate opens; returns both and the gate."""

    def start(**settings):
        served, gate = serve_jobs(**settings), threading.Event()
        served.predictor.before_predict = lambda: gate.wait(PATIENCE_S)
        return served, submit(served).json(), gate

    return start


def listen(served, job, count, *, address="127.0.0.1"):
    streams = [
        OpenUpload(served, method="GET", path=job["links"]["events"], address=address)
        for _ in range(count)
    ]
    for stream in streams:
        stream.send(ends=True)
    return streams


def begun(streams):
    """How many are being answered: with events, not with a refusal."""
    return sum(bool(s.sent) and s.sent[0]["status"] == 200 for s in streams)


def listen_at_once(served, job, count):
    streams = listen(served, job, count)
    wait_for(lambda: begun(streams) == count, pause_s=0.001)
    return streams


def test_streams_are_bounded_in_all_and_for_each_caller(live):
    served, job, gate = live(max_event_streams=8)
    streams = listen(served, job, 10)
    wait_for(lambda: begun(streams) == 6 and sum(stream.is_open for stream in streams) == 6)
    refused = served.http.get(job["links"]["events"])
    assert_problem(refused, 429, "queue-full")
    others = listen(served, job, 4, address="192.0.2.1")
    wait_for(lambda: begun(others) == 2 and sum(stream.is_open for stream in others) == 2)
    for stream in streams:
        if stream.is_open:
            stream.hang_up()
    again = listen(served, job, 1)
    wait_for(lambda: begun(again) == 1)
    gate.set()
    until_ended(served, job)
    assert again[0].status() == 200
    wait_for(lambda: served.transport.app.state.feed.places.held == 0)


def test_hundreds_of_readers_do_not_stall_the_others(live):
    served, job, gate = live(max_event_streams=200)
    with probing(served.transport) as probe:
        streams = [stream for _ in range(15) for stream in listen_at_once(served, job, 10)]
        assert served.http.get("/livez").status_code == 200
        gate.set()
        until_ended(served, job)
        assert [stream.status() for stream in streams] == [200] * 150
    assert all(b"completed" in b"".join(m.get("body", b"") for m in s.sent) for s in streams)
    assert probe.is_smooth, probe
    assert probe.grown_bytes <= NOISE, probe
    assert served.post(clip()).status_code == 200
