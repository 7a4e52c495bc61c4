"""Uploads of jobs count before they are jobs."""

import asyncio
import threading
from contextlib import AsyncExitStack

import pytest

from server.api.uploads.job_room import JobRoom
from server.errors import QueueFull
from tests.server.conftest import assert_problem
from tests.server.jobs.support.job_requests import submit, until_ended
from tests.server.support.fakes import clip, make_settings
from tests.server.support.open_upload import OpenUpload
from tests.support.waiting import PATIENCE_S, wait_for

ASYNC = {"prefer": "respond-async"}
MIB = 2**20


def opened(served, count, *, address="127.0.0.1", **headers):
    named = {name.replace("_", "-"): str(value) for name, value in headers.items()}
    return [OpenUpload(served, headers=ASYNC | named, address=address) for _ in range(count)]


def begin(uploads, data=b"clip "):
    """Sends the first bytes of each."""
    for upload in uploads:
        upload.send(data)


def open_ones(uploads):
    return sum(upload.is_open for upload in uploads)


@pytest.fixture
def held(serve_jobs):
    """An app whose jobs stay in the store until the gate opens."""

    def start(**settings):
        served = serve_jobs(max_caller_share=1, **settings)
        gate = threading.Event()
        served.predictor.before_predict = lambda: gate.wait(PATIENCE_S)
        return served, gate

    return start


def test_no_more_jobs_come_in_than_there_are_places(held):
    served, gate = held(max_jobs=4)
    uploads = opened(served, 12)
    begin(uploads)
    wait_for(lambda: open_ones(uploads) <= 4)
    for upload in uploads:
        upload.send(b"60 100", ends=True)
    statuses = sorted(upload.status() for upload in uploads)
    assert statuses == [202] * 4 + [429] * 8
    assert_problem(submit(served), 429, "queue-full")
    gate.set()
    wait_for(lambda: submit(served).status_code == 202)


def test_no_more_bytes_come_in_than_there_is_room(held):
    served, gate = held(job_storage_mb=4, job_max_upload_mb=2)
    uploads = opened(served, 6, content_length=2 * MIB)
    begin(uploads, b"clip 60 100".ljust(MIB))
    wait_for(lambda: open_ones(uploads) <= 2)
    assert open_ones(uploads) == 2
    for upload in uploads:
        upload.send(b" " * MIB, ends=True)
    assert sorted(upload.status() for upload in uploads) == [202] * 2 + [429] * 4
    gate.set()


def test_a_body_of_unknown_size_is_counted_while_it_comes(held):
    served, gate = held(job_storage_mb=4, job_max_upload_mb=4)
    uploads = opened(served, 2)
    begin(uploads, b" " * MIB)
    for _ in range(2):
        for upload in uploads:
            upload.send(b" " * MIB)
    wait_for(lambda: open_ones(uploads) <= 1)
    for upload in uploads:
        upload.hang_up()
    gate.set()
    assert submit(served, clip().ljust(3 * MIB)).status_code == 202


def test_whatever_ends_an_upload_its_room_comes_back(held, monkeypatch):
    served, gate = held(max_jobs=1, job_storage_mb=1, job_max_upload_mb=1)
    gate.set()
    (gone,) = opened(served, 1, content_length=MIB)
    begin([gone])
    gone.hang_up()
    (wrong,) = opened(served, 1, content_type="multipart/form-data; boundary=x")
    begin([wrong], b"no form")
    wrong.send(ends=True)
    assert wrong.status() == 400
    with monkeypatch.context() as patch:
        patch.setattr("server.api.job_intake._body_hash", lambda new: 1 / 0)
        assert_problem(submit(served), 500, "internal")
    until_ended(served, submit(served).json())
    left = served.engine.settings.state_dir.glob("in*/**/*")
    assert [path for path in left if path.is_file()] == []


def test_many_trickling_bodies_are_bounded_in_all_and_for_each_caller(serve_jobs):
    served = serve_jobs(max_job_uploads=8)
    uploads = opened(served, 40)
    begin(uploads)
    wait_for(lambda: open_ones(uploads) <= 6)
    incoming = served.engine.settings.state_dir / "incoming"
    wait_for(lambda: len(list(incoming.glob("*/*"))) == 6)
    other = opened(served, 4, address="192.0.2.7")
    begin(other)
    wait_for(lambda: open_ones(other) == 2)
    for upload in (*uploads, *other):
        upload.hang_up()
    assert submit(served).status_code == 202


class SlowStore:
    """A store that is read while a job comes in: before or after, as the test says."""

    def __init__(self):
        self.jobs = 0
        self.reading, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    async def call(self, work):
        return await asyncio.to_thread(work)

    def waiting(self):
        seen = self.jobs
        self.reading.set()
        assert self.go_on.wait(PATIENCE_S)
        return {"": (seen, seen)} if seen else {}


def test_a_job_that_comes_in_while_the_store_is_read_is_not_missed():
    store = SlowStore()
    room = JobRoom(store, make_settings(max_jobs=1))

    async def main():
        async with AsyncExitStack() as first:
            await first.enter_async_context(room.reserve("address a", 1))
            store.reading.clear()
            store.go_on.clear()
            second = asyncio.create_task(enter(room, "address b"))
            await asyncio.to_thread(store.reading.wait, PATIENCE_S)
            store.jobs += 1  # after the other one has read
            room.settle("address a", 1)
        store.go_on.set()
        with pytest.raises(QueueFull):
            await second

    asyncio.run(main())


async def enter(room, caller):
    async with room.reserve(caller, 1):
        pass


def test_one_key_cannot_fill_the_queue(serve_jobs):
    served = serve_jobs(max_jobs=4, api_keys={"ann": "annas-key", "bob": "bobs-key"})
    gate = threading.Event()
    served.predictor.before_predict = lambda: gate.wait(PATIENCE_S)
    statuses = [submit(served, x_api_key="annas-key").status_code for _ in range(4)]
    assert statuses == [202] * 3 + [429]
    assert submit(served, x_api_key="bobs-key").status_code == 202
    gate.set()
