"""The benchmark of live streams, in little: what it reports is what the streams saw."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.__main__ import main
from bench.live import command, streams
from bench.live.command import most, table
from bench.live.streams import RATE, Stream, lags, pictures
from clients.errors import Busy, ServerFault
from clients.results.live import LiveAnswer, LiveSkipped


@given(st.integers(0, 300), st.integers(1, 20))
def test_the_most_that_is_held_is_found_in_few_tries(limit, first):
    tried = []

    def is_held(count):
        tried.append(count)
        return count <= limit

    assert most(is_held, first) == limit
    assert len(tried) <= 25


def test_lags_count_from_the_last_picture_of_an_answer(monkeypatch):
    async def server(place, frames, choices):
        async for time_s, picture in frames:
            assert picture[:2] == b"\xff\xd8"
            if round(time_s * RATE) == 15:
                yield LiveAnswer(from_s=0.0, to_s=16 / RATE, lag_ms=0.0)
        yield LiveSkipped(from_s=0.0, to_s=1.0, windows=3)

    async def refusing(place, frames, choices):
        raise Busy("the server is full")
        yield

    async def failing(place, frames, choices):
        raise ServerFault("it broke")
        yield

    async def run():
        images = pictures(64, 48)[:2]
        found = []
        for fake in (server, refusing, failing):
            monkeypatch.setattr(streams, "live_messages", fake)
            found += await streams.run_streams(None, 1, 20 / RATE, images, is_paced=False)
        return found

    answered, refused, failed = asyncio.run(run())
    assert (answered.skipped, answered.refusal, answered.error) == (3, None, None)
    assert not answered.is_summarised
    (lag,) = answered.lags_ms
    assert 0 <= lag < 60_000
    assert (refused.refusal, failed.error) == ("the server is full", "it broke")
    assert lags([refused, failed]) is None
    assert lags([answered, Stream(lags_ms=[1e6])])["p99"] == 1e6


@pytest.mark.slow(12)
@pytest.mark.service
def test_one_stream_is_measured_and_misses_are_said(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(command.LAG_P50_MS, "1280x720", -1.0)
    assert main(["live", "--parts", "lag", "--seconds", "2", "--out", str(tmp_path / "a")]) == 1
    said = capsys.readouterr().out
    assert "one stream of 320x240: lag p50" in said
    assert "FAILED lag p50, 1280x720" in said


def test_what_was_not_measured_is_not_in_the_table():
    assert table({"cores": 2, "seconds": 3.0}).splitlines() == [
        "2 cores, streams of 3 s, 30 a second"
    ]
