"""Live messages as they are shown: one line each, nothing of a label becomes markup."""

import io
import json

import pytest

from clients.output.live import FORMATS
from clients.results.live import live_message

RANKED = {"id": 0, "label": "cut", "probability": 0.75}
ACTION = {"verb": [RANKED], "noun": [{**RANKED, "label": "bread"}]}
MESSAGES = [
    {"type": "action", "event": "start", "start_s": 1.0, "verb": "cut", "noun": "a --> b",
     "probability": 0.75, "end_s": None},
    {"type": "answer", "from_s": 0.0, "to_s": 8.0, "lag_ms": 120.0, "ar": ACTION,
     "oscc": {"state_change": True, "probability": 0.9},
     "pnr": {"time_s": 3.5, "frame": 105, "probability": 0.4}},
    {"type": "forecast", "at_s": 8.0, "lag_ms": 1.0,
     "lta": {"observed": [0], "steps": [ACTION] * 20, "hypotheses": []}},
    {"type": "skipped", "from_s": 8.0, "to_s": 9.5, "windows": 3},
    {"type": "action", "event": "end", "start_s": 1.0, "end_s": 9.0, "verb": "cut",
     "noun": "a --> b", "probability": 0.8},
]  # fmt: skip


def shown(kind):
    target = io.StringIO()
    show = FORMATS[kind](target)
    for values in MESSAGES:
        show(live_message(values))
    return target.getvalue()


def test_a_line_for_each_thing_that_happens():
    assert shown("text").splitlines() == [
        "    1.00 s  begins  cut a --> b (75%)",
        "    8.00 s  change  of state (90%), at 3.50 s",
        "    8.00 s  next    cut bread, cut bread, cut bread, ...",
        "    9.50 s  skipped 8.00 to 9.50 s: the server cannot keep up",
        "    9.00 s  ended   cut a --> b, from 1.00 s",
    ]


def test_lines_of_json_are_the_messages():
    found = [json.loads(line) for line in shown("json").splitlines()]
    assert [message["type"] for message in found] == [message["type"] for message in MESSAGES]
    assert found[1]["ar"]["verb"][0]["label"] == "cut"


def test_subtitles_have_a_cue_for_what_has_ended():
    head, cue = shown("vtt").split("\n\n")
    assert head == "WEBVTT"
    times, words = cue.splitlines()
    assert times == "00:00:01.000 --> 00:00:09.000"
    assert "-->" not in words


@pytest.mark.parametrize("kind", ["ready", "ack", "of a later version"])
def test_messages_that_callers_do_not_see_are_none(kind):
    assert live_message({"type": kind}) is None
