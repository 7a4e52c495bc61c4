"""A server on Ray answers as one process does, whatever dies behind it; in the order of harm."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from safetensors.torch import load

from server.api.app import create_app
from server.engine.engine import Engine
from tests.server.conftest import assert_problem
from tests.server.support.fakes import make_settings
from tests.server.support.in_process import AppTransport
from tests.server.support.live_client import dialled
from tests.support.waiting import PATIENCE_S, wait_for

CLIP = Path(__file__).parents[3] / "clients" / "sample" / "clip.mp4"
VIDEO = {"content-type": "video/mp4"}

# One cluster of Ray after the other: two at once starve each other, and all tests beside them.
pytestmark = [pytest.mark.slow(20), pytest.mark.service, pytest.mark.xdist_group("nodes")]


def post(http, body=None, **headers):
    body = CLIP.read_bytes() if body is None else body
    return http.post("/v1/predictions", content=body, headers=VIDEO | headers)


@pytest.fixture(scope="module")
def local(bundles):
    """The same bundle in a server of one process."""
    settings = make_settings(bundle=bundles / "1", runtime="torch", decode_workers=1)
    transport = AppTransport(create_app(settings, Engine.from_settings(settings)))
    transport.start()
    with httpx.Client(base_url="http://test", transport=transport, timeout=PATIENCE_S) as http:
        wait_for(lambda: http.get("/readyz").status_code == 200)
        yield http
    transport.stop()


def assert_same(one, other, path="answer"):
    """Same labels, same numbers to 1e-5; ids and times are each answer's own."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one.keys() - {"id", "timings"}:
            assert_same(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), path
        for index, pair in enumerate(zip(one, other, strict=True)):
            assert_same(*pair, f"{path}[{index}]")
    elif isinstance(one, float):
        assert one == pytest.approx(other, abs=1e-5), path
    else:
        assert one == other, path


def test_an_answer_is_that_of_one_process(on_ray, local):
    ours, theirs = post(on_ray.http), post(local)
    assert ours.status_code == theirs.status_code == 200, ours.text
    assert_same(ours.json(), theirs.json())
    assert ours.headers.get_list("x-request-id") == ours.headers["x-request-id"].split(", ")[:1]


def test_features_are_those_of_one_process(on_ray, local):
    both = [
        load(http.post("/v1/features", content=CLIP.read_bytes(), headers=VIDEO).content)
        for http in (on_ray.http, local)
    ]
    assert both[0]["features"].shape == both[1]["features"].shape
    assert (both[0]["features"] - both[1]["features"]).abs().max() < 1e-5


def test_a_job_is_answered_as_by_one_process(on_ray, local):
    accepted = post(on_ray.http, prefer="respond-async")
    assert accepted.status_code == 202, accepted.text
    where = accepted.headers["location"]
    wait_for(lambda: on_ray.http.get(where).json()["state"] == "succeeded")
    ours, theirs = on_ray.http.get(f"{where}/result").json(), post(local).json()
    assert (ours["input"].pop("reader"), theirs["input"].pop("reader")) == ("pyav", "decord")
    assert_same(ours, theirs)


def test_events_come_while_a_clip_is_answered(on_ray):
    with on_ray.http.stream(
        "POST",
        "/v1/predictions",
        content=CLIP.read_bytes(),
        headers=VIDEO | {"accept": "text/event-stream"},
    ) as stream:
        kinds = [line for line in stream.iter_lines() if line.startswith("event:")]
    assert kinds[0] == "event: progress"
    assert len(kinds) > 2


def test_a_live_stream_ends_with_the_answer_of_one_process(on_ray, local):
    data = CLIP.read_bytes()
    with dialled(f"{on_ray.http.base_url.host}:{on_ray.http.base_url.port}") as live:
        live.say(input="container", skip=False, evidence=True)
        for first in range(0, len(data), 20_000):
            live.send(data[first : first + 20_000])
        live.say(type="end")
        live.read_all()
    assert live.close == 1000, live.got[-1]
    assert len(live.of("answer")) > 10
    (summary,) = live.of("summary")
    ours = summary["result"]
    theirs = local.post("/v1/predictions?return=evidence", content=data, headers=VIDEO).json()
    for segment in (*ours["segments"], *theirs["segments"]):
        del segment["pnr"]["frame"]  # of a stream it is one of the clock's
    for name in ("segments", "lta", "features"):
        assert_same(ours[name], theirs[name], name)


def test_refusals_are_problems_and_none_are_rays(on_ray):
    assert_problem(post(on_ray.http, b"no video"), 415, "unsupported-media")
    assert_problem(on_ray.http.get("/nowhere"), 404, "not-found")
    assert_problem(on_ray.http.delete("/livez"), 405, "method-not-allowed")


@contextmanager
def a_stream_of_clips(url, callers: int) -> Iterator[list[httpx.Response]]:
    """Callers who ask again and again; yields what they have been answered so far."""
    answers: list[httpx.Response] = []
    stop = threading.Event()

    def call():
        with httpx.Client(base_url=url, trust_env=False, timeout=PATIENCE_S) as http:
            while not stop.is_set():
                answers.append(post(http))

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_new_bundle_takes_over_without_a_refusal_and_a_broken_one_does_not(on_ray):
    with a_stream_of_clips(on_ray.http.base_url, 2) as answers:
        wait_for(lambda: len(answers) >= 2)
        on_ray.serve_bundle("2")
        wait_for(lambda: answers[-1].json()["model"]["version"] == "2")
        on_ray.serve_bundle("broken")
        wait_for(lambda: on_ray.checks()["reload"] == "failed")
    assert Counter(answer.status_code for answer in answers) == {200: len(answers)}
    versions = [answer.json()["model"]["version"] for answer in answers]
    assert versions == sorted(versions)
    assert post(on_ray.http).json()["model"]["version"] == "2"
    on_ray.serve_bundle("1")
    wait_for(lambda: post(on_ray.http).json()["model"]["version"] == "1")


def test_a_front_end_that_dies_is_told_of_in_our_words(on_ray):
    """Serve cannot send a body twice: this caller is asked to come back, and can."""
    (front,) = on_ray.replicas("Front")
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(post(on_ray.http)))
    thread.start()
    time.sleep(0.2)
    os.kill(front, signal.SIGKILL)
    thread.join()
    (answer,) = answers
    if answer.status_code != 200:  # it may have been done by then
        assert answer.status_code == 503
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "no-front-end"
        assert int(answer.headers["retry-after"]) > 0
    wait_for(lambda: post(on_ray.http).status_code == 200)


def test_a_killed_encoder_and_a_killed_node_cost_no_answer(on_ray, local):
    """Its callers wait a little longer; nobody is refused, and nobody is answered twice."""
    with a_stream_of_clips(on_ray.http.base_url, 3) as answers:
        wait_for(lambda: len(answers) >= 3)
        victim = on_ray.replicas("Encoder")[0]
        os.kill(victim, signal.SIGKILL)
        done = len(answers)
        wait_for(lambda: len(answers) >= done + 3)
        wait_for(lambda: len(set(on_ray.replicas("Encoder")) - {victim}) == 2)
        workers = on_ray.cluster.workers
        node = next(
            n for n in workers if n.pids("Encoder") and not n.pids("ServeReplica:egopack:Front")
        )
        node.kill()
        done = len(answers)
        wait_for(lambda: len(answers) >= done + 4)
    assert Counter(answer.status_code for answer in answers) == {200: len(answers)}
    assert len({answer.json()["id"] for answer in answers}) == len(answers)
    expected = post(local).json()
    for answer in answers:
        assert_same(answer.json(), expected)


def test_sigterm_ends_it_with_success_and_leaves_nobody(on_ray):
    on_ray.process.terminate()
    assert on_ray.process.wait(PATIENCE_S) == 0, on_ray.log.read_text()
    wait_for(lambda: not on_ray.replicas(""))
