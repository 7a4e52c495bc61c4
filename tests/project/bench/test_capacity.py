"""The capacity model: plans grow with the load, waits follow theory, and no clip is lost."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event

from bench.__main__ import main
from bench.capacity import measured, plot
from bench.capacity.check.probe import fit
from bench.capacity.costs import WRITES_PER_JOB
from bench.capacity.demand import STANDARD, Clip, Demand, Terms, parse_clip, parse_live
from bench.capacity.queues import ENDLESS, Wait, allen_cunneen, erlang_c, sojourn_quantile_s
from bench.capacity.rates import ENCODERS, Figure, Rates
from bench.capacity.simulation.cores import fill
from bench.capacity.simulation.loads import closed_load, open_load, poisson
from bench.capacity.simulation.stages import Box, ClipCost, Law, Stages
from bench.capacity.sizing import Unreachable, plan_boxes, plan_gpus
from server.jobs.database import Database
from server.jobs.records import NewJob
from server.jobs.store import JobStore

TABLETOP = ENCODERS["tabletop"]
RATES = Rates(measured.read(measured.shipped(), TABLETOP), TABLETOP)
WITH_GPU = Rates({**RATES.figures, "windows_per_gpu_s": Figure(100.0, "given")}, TABLETOP)
STREAMS = st.floats(1, 20_000)


def load_of(streams: float) -> Demand:
    """A load of ordinary clips."""
    return Demand.of_streams(streams, [STANDARD])


def decoding_alone(decode_s: tuple[float, ...]) -> Stages:
    """Stages of a server whose only work is one decoder's."""
    nothing = Law(0.0, 0.0)
    return Stages({"clip": ClipCost(windows=1, decode_s=decode_s)}, nothing, nothing)


ALONE = Box(cores=1, decoders=1, clips_ahead=100_000, max_requests=100_000, niceness=0)


@given(STREAMS, st.floats(1, 4))
@settings(max_examples=50, deadline=None)
def test_more_load_never_needs_less(streams, factor):
    for plan, rates in ((plan_boxes, RATES), (plan_gpus, WITH_GPU)):
        less = plan(load_of(streams), rates, Terms())
        more = plan(load_of(streams * factor), rates, Terms())
        assert more.cores >= less.cores
        assert more.gpus >= less.gpus
        assert more.per_hour >= less.per_hour


@given(STREAMS)
@settings(max_examples=50, deadline=None)
def test_a_plan_holds_its_load_within_its_target(streams):
    plan = plan_boxes(load_of(streams), RATES, Terms())
    assert plan.holds
    assert plan.p99_s <= Terms().target_s


def test_cost_is_linear_in_the_limit():
    price = [plan_boxes(load_of(n), RATES, Terms()).per_1000_hours for n in (50_000, 100_000)]
    assert price[1] == pytest.approx(price[0], rel=0.01)


@pytest.mark.parametrize("plan", [plan_boxes, plan_gpus])
def test_one_more_of_the_bottleneck_raises_what_fits_and_one_more_of_the_rest_does_not(plan):
    resources = plan(load_of(700), WITH_GPU, Terms()).resources
    fits = min(one.clips_per_s for one in resources)
    for place, relieved in enumerate(resources):
        grown = [replace(one, count=one.count + (one is relieved)) for one in resources]
        assert (min(one.clips_per_s for one in grown) > fits) == (place == 0)


def test_a_database_that_is_too_small_is_said_to_be():
    jobs = replace(load_of(8_000), job_share=1.0)
    plan = plan_boxes(jobs, RATES, Terms())
    assert plan.writes_per_s == pytest.approx(1000 * WRITES_PER_JOB)
    assert (plan.bottleneck.name, plan.holds) == ("database", False)
    assert plan_boxes(jobs, RATES, replace(Terms(), writes_per_s=1e5)).holds


def test_relief_of_the_bottleneck_and_of_nothing_else_raises_what_fits():
    plan = plan_boxes(load_of(100), RATES, Terms())
    assert plan.bottleneck.name == "cores"
    cheaper = {"megapixel_ms": Figure(RATES["megapixel_ms"] / 4, "given")}
    relieved = plan_boxes(load_of(100), Rates({**RATES.figures, **cheaper}, TABLETOP), Terms())
    per_box = [p.bottleneck.clips_per_s / p.boxes for p in (plan, relieved)]
    assert per_box[1] > 1.2 * per_box[0]
    wider = plan_boxes(load_of(100), RATES, replace(Terms(), link_gbit_s=100))
    assert wider.bottleneck.clips_per_s == plan.bottleneck.clips_per_s


def test_a_target_below_an_idle_machines_time_is_refused():
    with pytest.raises(Unreachable):
        plan_boxes(load_of(1), RATES, replace(Terms(), target_s=0.01))


@given(st.floats(0.01, 0.99))
def test_erlang_c_of_one_server_is_its_load(load):
    assert erlang_c(1, load) == pytest.approx(load)


@given(st.integers(1, 40), st.floats(0.05, 0.95))
def test_erlang_c_is_the_textbooks_sum(servers, share):
    load = servers * share
    waiting = load**servers / math.factorial(servers) * servers / (servers - load)
    free = sum(load**k / math.factorial(k) for k in range(servers))
    assert erlang_c(servers, load) == pytest.approx(waiting / (free + waiting))


@given(st.floats(0.1, 0.95), st.floats(0.01, 5), st.floats(0, 3), st.floats(0.5, 0.999))
@settings(max_examples=50, deadline=None)
def test_a_sojourn_of_one_wait_and_one_service_is_their_sum(probability, mean_s, service_s, share):
    wait = Wait(probability, mean_s)
    found = sojourn_quantile_s([wait], [service_s], [1.0], share)
    assert found == pytest.approx(service_s + wait.quantile_s(share), abs=0.01 * mean_s)


def test_a_sojourn_of_two_waits_is_their_convolution():
    waits = [Wait(1.0, 1.0), Wait(1.0, 1.0)]  # two exponentials: P(T > t) = (1 + t) exp(-t)
    found = sojourn_quantile_s(waits, [0.0], [1.0], 0.99)
    assert (1 + found) * math.exp(-found) == pytest.approx(0.01, rel=0.02)


wants = st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.1, 4)), min_size=1, max_size=6)


@given(st.floats(0.5, 8), wants)
def test_cores_are_divided_by_weight_and_none_is_left_to_whoever_could_use_it(whole, wants):
    given_ = fill(whole, wants)
    assert sum(given_) == pytest.approx(min(whole, sum(most for _, most in wants)))
    paces = [g / w for g, (w, most) in zip(given_, wants, strict=True) if g < most - 1e-9]
    assert all(pace == pytest.approx(max(paces)) for pace in paces)  # nobody open is behind
    for share, (weight, most) in zip(given_, wants, strict=True):
        assert share <= most + 1e-9
        assert not paces or share / weight <= max(paces) + 1e-9


def test_an_overloaded_queue_is_waited_in_for_ever():
    assert allen_cunneen(2, 3.0, 1.0, service_scv=1.0) == ENDLESS
    assert sojourn_quantile_s([ENDLESS], [1.0], [1.0], 0.99) == math.inf


@pytest.mark.slow
@pytest.mark.parametrize("load", [0.3, 0.7])
def test_the_simulation_of_one_decoder_is_m_d_1(load):
    arrivals = poisson(load, 8_000, {"clip": 1.0}, seed=1)
    met = open_load(decoding_alone((1.0,)), ALONE, arrivals)
    expected = 1 + load / (2 * (1 - load))  # Pollaczek and Khinchine
    assert sum(met.took_s) / len(met.took_s) == pytest.approx(expected, rel=0.08)
    assert met.busy == pytest.approx(load, rel=0.05)


@pytest.mark.slow
def test_the_simulation_of_one_decoder_with_exponential_times_is_m_m_1():
    count, load = 2000, 0.5
    # The law's quantiles stand for it; their mean is made 1.
    times = [-math.log(1 - (i + 0.5) / count) for i in range(count)]
    mean = sum(times) / count
    stages = decoding_alone(tuple(t / mean for t in times))
    met = open_load(stages, ALONE, poisson(load, 8_000, {"clip": 1.0}, seed=2), seed=3)
    assert sum(met.took_s) / len(met.took_s) == pytest.approx(1 / (1 - load), rel=0.1)
    wait = allen_cunneen(1, load, 1.0, service_scv=1.0)
    assert 1 + wait.probability * wait.mean_s == pytest.approx(1 / (1 - load))


@given(st.floats(0.5, 6), st.integers(0, 5))
@settings(max_examples=20, deadline=None)
def test_every_clip_is_answered_refused_or_inside(rate, seed):
    box = replace(ALONE, max_requests=3)
    arrivals = poisson(rate, 200, {"clip": 1.0}, seed=seed)
    met = open_load(decoding_alone((0.4,)), box, arrivals, until_s=arrivals[100][0])
    assert met.arrived == len(met.took_s) + met.refused + met.inside
    assert met.inside <= 3


def test_callers_who_wait_are_never_more_than_they_are():
    met = closed_load(
        decoding_alone((0.5,)), ALONE, iter(lambda: "clip", None), callers=4, duration_s=100
    )
    assert met.per_s == pytest.approx(2.0, rel=0.02)
    assert met.quantile_s(0.5) == pytest.approx(4 * 0.5, rel=0.02)


def test_a_clip_is_written_as_the_help_says():
    assert parse_clip("8:960x540") == Clip(8, 960, 540)
    assert parse_clip("60:1920x1080@60=0.25") == Clip(60, 1920, 1080, 60, 0.25)
    with pytest.raises(ValueError, match="8:960x540"):
        parse_clip("eight seconds")


def test_a_live_stream_is_a_window_and_an_answer_each_step():
    step = parse_live("1280x720@25")
    live = Demand.of_streams(10, [step], is_live=True)
    assert (step.windows, step.megapixels) == (1, 0.9216)
    assert live.rate == pytest.approx(10 * 30 / 16)
    assert live.streams == pytest.approx(10)
    for plan in (plan_boxes, plan_gpus):
        own = plan(live, WITH_GPU, Terms())
        shared = plan(replace(live, is_live=False), WITH_GPU, Terms())
        more_mb = 1024 * (own.ram_gb - shared.ram_gb)  # a decoding process a stream
        assert more_mb == pytest.approx(
            (10 - own.cores + own.front_ends * (own.gpus > 0)) * 75, 0.1
        )
    with pytest.raises(ValueError, match="expected WIDTHxHEIGHT"):
        parse_live("8:1280x720")


def test_live_streams_are_planned_alone(tmp_path):
    out = tmp_path / "plan.json"
    words = ["capacity", "--live", "320x240", "--streams", "8", "--target-s", "0.6"]
    assert main([*words, "--out", str(out)]) == 0
    assert json.loads(out.read_text())["figures"]["boxes"][0]["clips_per_s"] == 15
    with pytest.raises(SystemExit, match="neither --clip nor --rate"):
        main([*words, "--rate", "3"])


def test_the_command_plans_and_guesses_no_gpu(tmp_path, capsys):
    path = tmp_path / "plan.json"
    main(["capacity", "--streams", "1", "100", "--out", str(path)])
    figures = json.loads(path.read_text())["figures"]
    assert len(figures["boxes"]) == 2
    assert figures["gpus"] == "not measured"
    assert "Encoder on GPUs: not measured" in capsys.readouterr().out


def test_the_simulation_of_stages_measured_alone_meets_a_loop_measured_beside_them():
    """An 8 s clip on two calm cores: `bench latency` and `bench encoder` give the stages, the rest
    is what 16 callers met in `bench load compare`."""
    clip = ClipCost(windows=14, decode_s=(0.2863,), receive_s=0.0106)
    each_s = (0.0555 - 0.0053) / 13  # of batches of 14 and of 1
    stages = Stages({"clip": clip}, Law(0.0053 - each_s, each_s), Law(0.0, 0.0103))
    met = closed_load(stages, Box(), iter(lambda: "clip", None), callers=16, duration_s=30)
    assert met.per_s == pytest.approx(5.218, rel=0.2)
    assert met.quantile_s(0.5) == pytest.approx(2.921, rel=0.2)
    assert met.quantile_s(0.99) == pytest.approx(3.238, rel=0.2)


def test_a_job_writes_as_often_as_the_plan_says(tmp_path):
    database = Database.in_folder(tmp_path)
    database.create()
    store, written = JobStore(database), []

    def note(connection, cursor, statement, *rest):
        if statement.startswith(("INSERT", "UPDATE", "DELETE")):
            written.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        facts = {"request": {}, "input_kind": "video", "input_bytes": 1, "input_sha256": "a"}
        store.add(NewJob(id="1", caller="me", **facts), now_s=0.0)
        job = store.claim(now_s=1.0, lease_s=9.0)
        store.renew(job, now_s=2.0, lease_s=9.0, progress={"stage": "features"})
        store.succeed(job, "file", now_s=3.0, expires_s=9.0)
    finally:
        event.remove(Engine, "before_cursor_execute", note)
        database.close()
    assert len(written) == WRITES_PER_JOB


@given(st.floats(0, 1), st.floats(0.001, 1))
def test_a_law_is_found_again_from_its_own_times(fixed_s, each_s):
    sizes = (1, 7, 14, 64)
    law = fit(sizes, [fixed_s + each_s * size for size in sizes])
    for size in sizes:
        assert law.of(size) == pytest.approx(fixed_s + each_s * size, rel=1e-6)


def test_a_file_that_is_no_report_is_named(tmp_path):
    path = tmp_path / "other.json"
    path.write_text("[]")
    with pytest.raises(ValueError, match=r"other\.json: expected a report"):
        measured.read([path], TABLETOP)


@pytest.mark.slow
def test_pictures_are_drawn_of_plans_and_checks(tmp_path):
    plans = [plan_boxes(load_of(n), RATES, Terms()) for n in (1, 100)]
    plot.draw_plans(tmp_path / "plans.svg", plans, [], "EUR")
    times = {"p50_ms": 300.0, "p99_ms": 900.0}
    row = {"rate": 1.0, "met": times, "simulated": times, "closed_form": times}
    full = {**row, "closed_form": {"p50_ms": None, "p99_ms": None}}
    plot.draw_check(tmp_path / "check.svg", [row, full, {**row, "rate": None}])
    for name in ("plans", "check"):
        assert "<svg" in (tmp_path / f"{name}.svg").read_text()
