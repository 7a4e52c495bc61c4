"""The slowest body that is received."""

import asyncio

from server.api.uploads.pace import Pace, PacedBody
from server.errors import DeadlineExceeded
from tests.server.conftest import assert_problem
from tests.server.support.fakes import clip
from tests.server.support.open_upload import OpenUpload
from tests.support.waiting import wait_for


class Sender:
    """Sends chunks at given moments of a clock that only it moves."""

    def __init__(self, loop, moments):
        self._loop, self._moments = loop, moments

    async def __aiter__(self):
        for at_s, chunk in self._moments:
            await asyncio.sleep(max(0.0, at_s - self._loop.time()))
            yield chunk


class JumpingLoop(asyncio.SelectorEventLoop):
    """A loop that passes waits at once, so that nothing here depends on the machine."""

    now_s = 0.0

    def time(self):
        return self.now_s

    def _run_once(self):
        if not self._ready and self._scheduled:
            self.now_s = max(self.now_s, self._scheduled[0].when())
        super()._run_once()


def received(moments, pace):
    """Reads a body to its end or until it is given up; returns the bytes and the time."""
    got = bytearray()

    async def main():
        body = PacedBody(aiter(Sender(asyncio.get_running_loop(), moments)), pace)
        while (chunk := await body.next()) is not None:
            got.extend(chunk)

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        try:
            runner.run(main())
        except DeadlineExceeded:
            return len(got), runner.get_loop().time()
    return len(got), None


def test_silence_is_waited_for_as_long_as_the_stall():
    assert received([(100, b"x")], Pace(10, 5)) == (0, 5)
    assert received([(4, b"x")], Pace(10, 5)) == (1, None)


def test_a_trickle_is_given_up_and_the_least_rate_is_not():
    trickle = [(n, b"x") for n in range(1000)]
    count, ended_s = received(trickle, Pace(10, 5))
    assert ended_s is not None
    assert count < 10
    enough = [(n, b"x" * 10) for n in range(200)]
    assert received(enough, Pace(10, 5)) == (2000, None)


def test_bytes_sent_ahead_buy_no_longer_pause_than_the_stall():
    assert received([(0, b"x" * 10_000), (6, b"y")], Pace(10, 5)) == (10_000, 5)


def test_a_caller_that_sends_nothing_holds_no_place_and_is_given_up(serve):
    served = serve(max_requests=1, upload_stall_s=0.3)
    silent = [OpenUpload(served, headers={"content-length": "1000"}) for _ in range(8)]
    assert served.post(clip()).status_code == 200
    assert [upload.status() for upload in silent] == [504] * 8
    assert b"too slowly" in silent[0].sent[1]["body"]


def test_a_body_that_stops_half_way_frees_its_place(serve):
    served = serve(max_requests=1, upload_stall_s=0.3)
    stalled = OpenUpload(served)
    stalled.send(b"clip ")
    wait_for(lambda: served.engine.admission.requests == 1, pause_s=0.001)
    assert stalled.status() == 504
    assert served.post(clip()).status_code == 200
    assert served.spooled() == []


def test_one_caller_cannot_hold_every_place(serve):
    served = serve(max_requests=4)
    uploads = [OpenUpload(served, address="192.0.2.1") for _ in range(4)]
    for upload in uploads:
        upload.send(b"clip ")
    wait_for(lambda: sum(upload.is_open for upload in uploads) == 3)
    wait_for(lambda: served.engine.admission.requests == 3)
    assert served.post(clip()).status_code == 200  # of another address
    for upload in uploads:
        upload.hang_up()


def test_one_caller_cannot_reserve_the_whole_disk(serve):
    served = serve(max_upload_mb=1, max_spool_mb=4)
    promise = {"content-length": str(2**20)}
    uploads = [OpenUpload(served, headers=promise, address="192.0.2.1") for _ in range(4)]
    for upload in uploads:
        upload.send(b"x")
    wait_for(lambda: sum(upload.is_open for upload in uploads) == 3)
    other = OpenUpload(served, headers=promise, address="192.0.2.2")
    other.send(b"x")
    third = OpenUpload(served, headers=promise, address="192.0.2.3")
    assert third.status() == 429  # before its body is asked for
    for upload in (*uploads, other):
        upload.hang_up()
    assert served.post(clip()).status_code == 200


def test_one_key_holds_its_share_from_wherever_it_comes(serve):
    served = serve(max_requests=4, api_keys={"ann": "annas-key", "bob": "bobs-key"})
    uploads = [
        OpenUpload(served, headers={"x-api-key": "annas-key"}, address=f"192.0.2.{n}")
        for n in range(4)
    ]
    for upload in uploads:
        upload.send(b"clip ")
    wait_for(lambda: sum(upload.is_open for upload in uploads) == 3)
    ask = {"content-type": "video/mp4", "x-api-key": "annas-key"}
    refused = served.http.post("/v1/predictions", content=clip(), headers=ask)
    assert_problem(refused, 429, "queue-full")
    ask["x-api-key"] = "bobs-key"
    assert served.http.post("/v1/predictions", content=clip(), headers=ask).status_code == 200
    for upload in uploads:
        upload.hang_up()
