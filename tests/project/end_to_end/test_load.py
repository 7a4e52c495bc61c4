"""Twenty seconds of what `python -m bench load` does for minutes, with the same checks."""

import asyncio

import pytest

from bench.load import general, overload, soak
from bench.load.callers import Door
from bench.load.clips import SMALL, good_clips
from bench.load.target import Target
from clients.local import LocalServer

pytestmark = [pytest.mark.slow(40), pytest.mark.service]


def measured(measure, *flags):
    """The figures of a load on a server of its own."""
    with LocalServer(*flags) as server:
        figures = asyncio.run(measure(Target(Door(server.url), server.pid), asyncio.Event()))
    assert server.exit_code == 0
    return figures


def unmet(figures):
    return [check for check in figures["checks"] if not check["is_met"]]


def test_too_many_callers_are_refused_at_once_and_the_others_answered_in_time():
    # A hundred times the limit of an idle machine: the other tests run beside it, and only a
    # refusal that waits for its turn in the queue is to be found here.
    # What the server can do may be several times what it could while it was probed, too.
    wanted = overload.Overload(
        good_clips(SMALL), times=8.0, seconds=12.0, probe_s=6.0, refusal_ms=5000.0
    )
    figures = measured(
        lambda server, stop: overload.measure(server, wanted, stop), "--max-requests", "4"
    )
    assert figures["load"]["outcomes"]["429 queue-full"] > 20
    assert figures["load"]["outcomes"]["200"] > 20
    assert unmet(figures) == []


def test_nothing_piles_up_under_mixed_clips():
    plan = soak.soak_plan(600)
    figures = measured(lambda server, stop: soak.measure(server, plan, stop))
    assert figures["load"]["calls"] == 600
    assert len(figures["load"]["outcomes"]) >= 4
    assert unmet(figures) == []


def test_callers_who_obey_get_their_answers_in_the_end():
    plan = general.Plan(good_clips(SMALL), concurrency=12, calls=60, obey=True)
    figures = measured(
        lambda server, stop: general.measure(server, plan, stop), "--max-requests", "4"
    )
    assert figures["outcomes"]["200"] == 60
    assert figures["unexpected"] == 0
