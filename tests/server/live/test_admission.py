import pytest

from server.errors import QueueFull
from server.live.admission import LivePlaces
from server.telemetry.metrics import Metrics
from tests.server.support.fakes import make_settings

RATE = 30 / 16


def made(window_s=0.0, **settings):
    metrics = Metrics()
    given = {"max_caller_share": 1.0, **settings}
    return LivePlaces(make_settings(**given), lambda: window_s, metrics), metrics


def refused(places, metrics, caller="a"):
    """The reason that is counted for the next one, which is refused."""
    before = reasons(metrics)
    with pytest.raises(QueueFull) as full:
        places.take(caller, RATE)
    assert full.value.retry_after_s > 0
    (reason,) = {name for name, count in reasons(metrics).items() if count != before.get(name)}
    return reason


def reasons(metrics):
    (family,) = metrics.live_refusals.collect()
    return {s.labels["reason"]: s.value for s in family.samples if s.name.endswith("_total")}


def test_streams_are_counted_and_places_come_back():
    places, metrics = made(live_sessions=2)
    first, _ = places.take("a", RATE), places.take("b", RATE)
    assert refused(places, metrics) == "streams"
    assert metrics.registry.get_sample_value("egopack_live_sessions") == 2
    first.give_back()
    first.give_back()
    places.take("c", RATE)
    assert refused(places, metrics) == "streams"


def test_one_caller_has_a_share():
    places, metrics = made(live_sessions=4, max_caller_share=0.5)
    for _ in range(2):
        places.take("a", RATE)
    assert refused(places, metrics, "a") == "caller"
    places.take("b", RATE)


def test_windows_a_second_are_what_the_encoder_does():
    places, metrics = made(window_s=0.7 / (3.2 * RATE))  # at 0.7 of it, three streams
    for _ in range(3):
        places.take("", RATE)
    assert refused(places, metrics) == "windows"
    stated, metrics = made(window_s=0.001, live_windows_s=2 * RATE)
    assert stated.capacity == 2 * RATE
    for _ in range(2):
        stated.take("", RATE)
    assert refused(stated, metrics) == "windows"


def test_a_single_stream_is_taken_however_slow_the_encoder():
    places, metrics = made(window_s=100.0)
    place = places.take("", RATE)
    assert refused(places, metrics) == "windows"
    place.give_back()
    places.take("", RATE)


def test_no_stream_is_taken_where_there_are_to_be_none():
    places, metrics = made(live_sessions=0)
    assert refused(places, metrics) == "streams"
