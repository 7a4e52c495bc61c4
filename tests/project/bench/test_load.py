import asyncio
import os
import subprocess
import sys

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load import callers as callers_module
from bench.load import soak
from bench.load.answers import HUNG_UP, LOST, Answer, percentile, summarise
from bench.load.callers import Callers, Door
from bench.load.clips import LoadClip, draw
from bench.load.loops import closed_loop, impatience, open_loop
from bench.load.watch import Sample, look, process_tree, trend
from tests.support.waiting import PATIENCE_S

CLIP = LoadClip("a clip", b"bytes")


def answer(status=200, took_s=0.1, wait=None):
    return Answer("a clip", status, "", 0.0, took_s, wait, is_expected=status == 200)


@given(st.lists(st.floats(0, 1e3), min_size=1), st.floats(0.001, 1.0))
def test_a_percentile_is_the_least_value_that_enough_do_not_exceed(values, share):
    found = percentile(sorted(values), share)
    assert found == np.percentile(values, 100 * share, method="inverted_cdf")


def test_only_answers_in_time_are_good():
    answers = [answer(took_s=0.5), answer(took_s=3.0), answer(429, 0.01, wait=4), answer(LOST)]
    figures = summarise([*answers, answer(HUNG_UP)], elapsed_s=2.0, slo_s=1.0)
    assert (figures["answers_per_s"], figures["goodput_per_s"]) == (1.0, 0.5)
    assert figures["outcomes"] == {"200": 2, "429": 1, "hung up": 1, "lost": 1}
    assert figures["answer_ms"]["max"] == 3000.0
    assert figures["refusal_ms"]["p50"] == 10.0
    assert figures["retry_after_s"] == {"least": 4, "most": 4, "missing": 0}


def test_a_refusal_without_a_wait_is_counted():
    figures = summarise([answer(429), answer(503, wait=2)], elapsed_s=1.0, slo_s=1.0)
    assert figures["retry_after_s"]["missing"] == 1
    assert figures["answer_ms"] is None


class FakeServer:
    """Answers through httpx's own transport; remembers how many calls were going at once."""

    def __init__(self, *statuses, takes_s=0.0):
        self.statuses, self.takes_s = list(statuses), takes_s
        self.going = self.most = self.calls = 0

    async def __call__(self, request):
        await request.aread()
        self.calls += 1
        self.going += 1
        self.most = max(self.most, self.going)
        try:
            await asyncio.sleep(self.takes_s)
        finally:
            self.going -= 1
        status = self.statuses.pop(0) if self.statuses else 200
        headers = {"retry-after": "0"} if status in (429, 503) else {}
        body = {} if status == 200 else {"code": "queue-full"}
        return httpx.Response(status, headers=headers, json=body)


def met(server, work, **options):
    """What callers of a fake server met."""

    async def main():
        async with Callers(Door("http://127.0.0.1"), **options) as callers:
            await callers._http.aclose()
            callers._http = httpx.AsyncClient(
                base_url="http://127.0.0.1", transport=httpx.MockTransport(server)
            )
            await work(callers, asyncio.Event())
            return callers.answers

    return asyncio.run(main())


def closed(calls=None, duration_s=None, concurrency=3, patience=lambda: None):
    async def work(callers, stop):
        await closed_loop(
            callers,
            draw([CLIP], seed=0),
            concurrency=concurrency,
            calls=calls,
            duration_s=duration_s,
            stop=stop,
            progress=lambda: None,
            patience=patience,
        )

    return work


def test_a_closed_loop_keeps_its_number_of_calls_going():
    server = FakeServer(takes_s=0.005)
    answers = met(server, closed(calls=20))
    assert (server.most, server.calls, len(answers)) == (3, 20, 20)


def test_a_timed_loop_waits_for_the_last_answers():
    server = FakeServer(takes_s=0.3)
    answers = met(server, closed(duration_s=0.05))
    assert {one.status for one in answers} == {200}
    assert len(answers) == server.calls > 0


def test_an_open_loop_does_not_wait_for_slow_answers():
    server = FakeServer(takes_s=0.3)

    async def work(callers, stop):
        await open_loop(
            callers,
            draw([CLIP], seed=0),
            rate=200.0,
            duration_s=0.25,
            seed=1,
            stop=stop,
            progress=lambda: None,
        )

    answers = met(server, work)
    assert server.most > 20
    assert 30 < len(answers) < 75  # 50 expected; six deviations are 42
    assert {one.status for one in answers} == {200}


def test_an_obedient_caller_comes_back_and_another_does_not(monkeypatch):
    monkeypatch.setattr(callers_module, "MAX_RETRIES", 3)

    async def no_wait(_):
        pass

    monkeypatch.setattr(callers_module.asyncio, "sleep", no_wait)
    one_call = closed(calls=1, concurrency=1)
    assert [a.status for a in met(FakeServer(429, 503), one_call, obey=True)] == [429, 503, 200]
    assert [a.status for a in met(FakeServer(429, 503), one_call)] == [429]
    assert len(met(FakeServer(*[429] * 9), one_call, obey=True)) == 3


def test_callers_who_lose_patience_hang_up():
    answers = met(FakeServer(takes_s=0.5), closed(calls=3, patience=lambda: 0.01))
    assert [one.status for one in answers] == [HUNG_UP] * 3
    leave = impatience(0.25, longest_s=2.0, seed=0)
    drawn = [leave() for _ in range(4000)]
    left = [one for one in drawn if one is not None]
    assert 0.22 < len(left) / len(drawn) < 0.28
    assert 0 <= min(left) < max(left) <= 2.0


def test_stopping_abandons_the_calls_that_are_going():

    async def work(callers, stop):
        asyncio.get_running_loop().call_later(0.05, stop.set)
        await closed(calls=3)(callers, stop)

    met(FakeServer(takes_s=PATIENCE_S), work)


def test_a_status_that_a_clip_may_not_get_is_unexpected():
    picky = LoadClip("text", b"x", frozenset({415}))

    async def work(callers, stop):
        await callers.call(picky)
        await callers.call(CLIP)

    first, second = met(FakeServer(200, 200), work)
    assert (first.is_expected, second.is_expected) == (False, True)


def test_a_tree_of_processes_is_found_and_measured():
    code = "import time; x = bytearray(60 << 20); print('up', flush=True); time.sleep(60)"
    before = look(os.getpid())
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert child.stdout.readline() == b"up\n"
        assert child.pid in process_tree(os.getpid())
        after = look(os.getpid())
        assert after.processes == before.processes + 1
        assert after.rss_mb > before.rss_mb + 55
        assert after.fds == len(os.listdir("/proc/self/fd"))  # the listing itself included, twice
    finally:
        child.kill()
        child.communicate()


def samples(values):
    return [Sample(float(k), v, v, 10, 5, 1) for k, v in enumerate(values)]


def test_growth_counts_after_the_warm_up_alone():
    flat = trend(samples([10.0] * 10 + [100.0] * 30))
    assert flat["rss_mb"]["drift_percent"] == 0.0
    growing = trend(samples([100.0] * 10 + [100.0 + k for k in range(31)]))
    assert growing["rss_mb"]["drift_percent"] == pytest.approx(100 * 24 / 103, abs=1.0)
    assert trend(samples([1.0] * 3)) is None


@pytest.mark.parametrize(("more", "passes"), [(0, True), (1, True), (soak.LAZY_THREADS + 1, False)])
def test_a_soak_forgives_threads_of_a_pool_that_fills_and_no_others(more, passes):
    still = {"first": 10, "last": 10, "most": 10, "drift_percent": 0.0}
    grown = {**still, "last": 10 + more, "most": 10 + more}
    server = {"rss_mb": still, "fds": still, "threads": grown}
    load = {"outcomes": {"200": 9}, "interrupted": False, "unexpected": 0, "server": server}
    assert soak.judged(soak._checks(load))["passed"] is passes
