import csv
import io
import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.output import formats as exports
from clients.results.predictions import PredictionResult
from server.schemas.examples import PREDICTION


@pytest.fixture
def result(answer):
    return PredictionResult.from_dict(answer)


def test_the_table_holds_every_answer_and_every_future(result):
    rows = list(csv.DictReader(io.StringIO(exports.to_csv(result, 'a "b",c.mp4'))))
    spans = exports.spans_of(result)
    assert {row["clip"] for row in rows} == {'a "b",c.mp4'}
    assert [row["label"] for row in rows[: len(spans)]] == [span.label for span in spans]
    futures = [(int(r["future"]), int(r["step"]), r["label"]) for r in rows[len(spans) :]]
    assert futures == [
        (future, step, f"{action.verb} {action.noun}")
        for future, steps in enumerate(result.lta.hypotheses, 1)
        for step, action in enumerate(steps, 1)
    ]


def test_an_instant_is_named_only_where_something_changes(result):
    segment = result.segments[0]
    for changes in (True, False):
        oscc = replace(segment.oscc, state_change=changes, probability=0.75 if changes else 0.25)
        spans = exports.spans_of(replace(result, segments=[replace(segment, oscc=oscc)]))
        found = {span.task: span for span in spans}
        assert ("pnr" in found) is changes
        assert found["oscc"].confidence == 0.75


def test_subtitles_cannot_be_broken_by_labels(result):
    segment = result.segments[0]
    verb = [replace(segment.ar.verb[0], label="a --> b <i>&")]
    odd = replace(segment, ar=replace(segment.ar, verb=verb))
    text = exports.to_vtt(replace(result, segments=[odd]), "x --> y")
    assert text.count("-->") == 1
    assert "a --&gt; b &lt;i&gt;&amp;" in text
    assert text.startswith("WEBVTT\n\n")


def test_no_label_or_name_begins_a_cue_of_its_own(result):
    segment = result.segments[0]
    evil = "x\n\n00:00:00.000 --> 09:00:00.000\r\nread this"
    verb = [replace(segment.ar.verb[0], label=evil)]
    odd = replace(segment, ar=replace(segment.ar, verb=verb))
    for name in (evil, "a --> b", "a\r\rb"):
        text = exports.to_vtt(replace(result, segments=[odd]), name)
        header, note, cue = text.split("\n\n")
        assert note.startswith("NOTE ")
        assert len(note.splitlines()) == 1
        assert text.count("-->") == 1
        assert cue.splitlines()[1].startswith("x 00:00:00.000 --&gt; 09:00:00.000 read this")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r=", "\n="])
def test_no_label_or_name_becomes_a_formula(result, start):
    segment = result.segments[0]
    evil = f"{start}HYPERLINK(A1)"
    verb = [replace(segment.ar.verb[0], label=evil)]
    early = replace(segment, ar=replace(segment.ar, verb=verb), start_s=-1.5)
    future = replace(result.lta, hypotheses=[[replace(result.lta.hypotheses[0][0], verb=evil)]])
    odd = replace(result, segments=[early], lta=future)
    shown = evil.replace("\r", " ")
    for row in csv.DictReader(io.StringIO(exports.to_csv(odd, evil), newline="")):
        assert row["clip"] == f"'{shown}"
        assert row["label"].startswith("'") == (shown in row["label"])
        assert row["start_s"] in ("-1.5", "", str(segment.pnr.time_s))  # numbers stay numbers


@given(st.floats(0, 100_000))
def test_a_time_stamp_says_the_time(seconds):
    hours, minutes, rest = exports._stamp(seconds).split(":")
    assert re.fullmatch(r"\d\d\.\d\d\d", rest)
    assert int(minutes) < 60
    assert int(hours) * 3600 + int(minutes) * 60 + float(rest) == pytest.approx(seconds, abs=6e-4)


@given(start=st.floats(0, 20), length=st.floats(0, 20), fps=st.sampled_from([1.0, 24.0, 29.97, 60]))
def test_frames_count_from_one_and_stay_inside_the_clip(start, length, fps):
    template = PredictionResult.from_dict(json.loads(json.dumps(PREDICTION)))
    facts = replace(template.input, fps=fps, duration_s=10.0)
    span = exports.Span("ar", "x", start, start + length, 1.0)
    first, last = exports._frames(span, replace(template, input=facts))
    assert 1 <= first <= last <= round(10 * fps)
    if length == 0:
        assert first == last == min(round(10 * fps), round(start * fps) + 1)
    elif start + length < 10:
        assert abs(first - 1 - start * fps) <= 1
        assert last == max(first, round((start + length) * fps))


def test_an_instant_is_the_frame_that_the_answer_names(result):
    segment = result.segments[0]
    for frame in range(100):
        pnr = replace(segment.pnr, time_s=(frame + 0.3) / result.fps, frame=frame)
        changed = replace(segment, pnr=pnr, oscc=None, end_s=200 / result.fps)
        facts = replace(result.input, duration_s=200 / result.fps)
        fields = exports.to_fiftyone(replace(result, segments=[changed], input=facts))
        assert fields["pnr"]["detections"][0]["support"] == [frame + 1, frame + 1]


def test_label_studio_gets_regions_of_the_interface_it_is_given(result):
    (task,) = exports.to_label_studio(result, "https://host/clip.mp4")
    assert task["data"] == {"video": "https://host/clip.mp4"}
    view = ElementTree.fromstring(exports.label_studio_config(result))
    control, video = view.find("TimelineLabels"), view.find("Video")
    assert control.get("toName") == video.get("name")
    assert float(video.get("frameRate")) == result.input.fps
    offered = {label.get("value") for label in control.findall("Label")}
    regions = task["predictions"][0]["result"]
    assert len({region["id"] for region in regions}) == len(regions) > 0
    for region in regions:
        assert region["from_name"] == control.get("name")
        assert region["to_name"] == video.get("name")
        assert set(region["value"]["timelinelabels"]) <= offered
    scores = [region["score"] for region in regions]
    assert min(scores) <= task["predictions"][0]["score"] <= max(scores)
    json.dumps(task)


def test_fiftyone_reads_what_it_is_given(result):
    fields = exports.to_fiftyone(result, "/videos/clip.mp4")
    assert fields.pop("filepath") == "/videos/clip.mp4"
    assert set(fields) == {span.task for span in exports.spans_of(result)}


def test_frames_are_counted_from_the_first_of_the_file_wherever_its_clock_begins(result):
    def moved(by_s):
        segments = [
            replace(
                segment,
                start_s=segment.start_s + by_s,
                end_s=segment.end_s + by_s,
                pnr=replace(segment.pnr, time_s=segment.pnr.time_s + by_s),
            )
            for segment in result.segments
        ]
        return replace(result, segments=segments, input=replace(result.input, start_s=by_s))

    there, here = exports.to_fiftyone(moved(1.5)), exports.to_fiftyone(result)
    assert there == here
    assert "00:00:01.500 --> 00:00:09.500" in exports.to_vtt(moved(1.5))
