"""A project's annotations teach a skill; Label Studio and the server are functions."""

import argparse
import threading
from contextlib import contextmanager

import httpx
import pytest

from clients.client import EgoPackClient
from clients.commands import label_studio as command
from clients.label_studio.backend import Backend
from clients.label_studio.clips import Clips
from clients.label_studio.fitting import FitChoices, Fitting
from tests.clients.support.teaching import TeachingServer
from tests.support.waiting import PATIENCE_S, wait_for

CONFIG = """
<View>
  <Video name="film" value="$movie" frameRate="10"/>
  <TimelineLabels name="hand" toName="film">
    <Label value="left"/><Label value="right"/>
  </TimelineLabels>
</View>
"""
TASK = {"name": "hand", "kind": "segment"}


def region(first, last, label, control="hand"):
    value = {"ranges": [{"start": first, "end": last}], "timelinelabels": [label]}
    return {"from_name": control, "to_name": "film", "type": "timelinelabels", "value": value}


def annotated(number, *regions, **more):
    one = {"result": list(regions), "updated_at": "2026-01-02", **more}
    data = {"movie": f"/data/upload/{number}.mp4"}
    return {"id": number, "data": data, "annotations": [one]}


TASKS = [
    annotated(1, region(1, 20, "left"), region(21, 40, "right")),
    annotated(2, region(5, 20, "right"), region(1, 9, "cut", control="other")),
    {"id": 3, "data": {}, "annotations": []},
]
ROWS = [
    {"video": "label-studio-7-1", "start_s": 0.0, "end_s": 2.0, "label": "left"},
    {"video": "label-studio-7-1", "start_s": 2.0, "end_s": 4.0, "label": "right"},
    {"video": "label-studio-7-2", "start_s": 0.4, "end_s": 2.0, "label": "right"},
]


class Studio:
    """Label Studio, with one project; its export may be held up."""

    def __init__(self, tasks=TASKS):
        self.tasks, self.asked = tasks, []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, request):
        self.asked.append(str(request.url.raw_path, "ascii"))
        match request.url.path:
            case "/api/projects/7/":
                return httpx.Response(200, json={"id": 7, "label_config": CONFIG})
            case "/api/projects/7/export":
                assert self.gate.wait(PATIENCE_S)
                return httpx.Response(200, json=self.tasks)
            case "/data/upload/1.mp4" | "/data/upload/2.mp4":
                return httpx.Response(200, content=request.url.path.encode())
        return httpx.Response(404)


@contextmanager
def fitting(server, studio, **choices):
    with (
        EgoPackClient("http://test", transport=httpx.MockTransport(server)) as client,
        Clips(
            "http://studio", token="t", max_bytes=1000, transport=httpx.MockTransport(studio)
        ) as clips,
        Fitting(client, clips, FitChoices(TASK, **choices)) as made,
    ):
        yield made, Backend(client, clips, {}, made)


def start(project=7):
    return {"action": "START_TRAINING", "project": {"id": project}}


def test_a_training_teaches_what_is_annotated_and_serves_it():
    server, studio = TeachingServer(kept=["label-studio-7-1"]), Studio()
    with fitting(server, studio, threshold=0.6) as (made, backend):
        assert backend.answer("/webhook", start()) == (201, {"status": "training"})
        assert made.wait(PATIENCE_S)
    (body,) = server.taught
    assert body == {"task": TASK, "labels": ROWS, "activate": True, "threshold": 0.6}
    assert server.sent == {"label-studio-7-2": b"/data/upload/2.mp4"}  # the other is kept
    assert "/data/upload/1.mp4" not in studio.asked
    assert "/api/projects/7/export?exportType=JSON" in studio.asked


def test_messages_during_a_training_make_one_more():
    server, studio = TeachingServer(), Studio()
    studio.gate.clear()
    with fitting(server, studio) as (made, backend):
        backend.answer("/webhook", start())
        wait_for(lambda: made._is_fitting)
        for _ in range(3):
            _, said = backend.answer("/train", {"project": "7.1700000000"})
            assert said == {"status": "waiting for the training that runs"}
        studio.gate.set()
        assert made.wait(PATIENCE_S)
    assert len(server.taught) == 2


def test_annotations_start_one_after_so_many_changes():
    server = TeachingServer()
    with fitting(server, Studio(), after=3) as (made, backend):
        said = []
        for action in ("ANNOTATION_CREATED", "TASKS_CREATED", "ANNOTATION_UPDATED",
                       "ANNOTATIONS_DELETED", "ANNOTATION_CREATED"):  # fmt: skip
            said.append(backend.answer("/webhook", start() | {"action": action})[1]["status"])
            assert made.wait(PATIENCE_S)
    assert said == ["1 of 3 changes", "nothing to do", "2 of 3 changes", "training",
                    "1 of 3 changes"]  # fmt: skip
    assert len(server.taught) == 1
    with fitting(server, Studio()) as (_, backend):
        for _ in range(5):
            message = start() | {"action": "ANNOTATION_CREATED"}
            assert backend.answer("/webhook", message)[1] == {"status": "nothing to do"}


@pytest.mark.parametrize("project", [None, "7/../1", {"id": "../e"}, {"id": True}, -1, 8, "٧"])
def test_a_message_about_no_project_or_another_is_refused(project):
    with fitting(TeachingServer(), studio := Studio(), project=7) as (_, backend):
        status, body = backend.answer("/webhook", {"action": "START_TRAINING", "project": project})
        assert status == 400
        assert "project" in body["error"]
    assert studio.asked == []


@pytest.mark.parametrize(
    ("tasks", "server", "words"),
    [
        ([], TeachingServer(), "no annotations of hand yet"),
        ([{"id": 1}], TeachingServer(), "'annotations'"),
        ([annotated(1, region(9, 3, "left"))], TeachingServer(), "from frame 9 to 3"),
        ([annotated(9, region(1, 3, "left"))], TeachingServer(), "status 404"),
        (
            TASKS,
            TeachingServer(refuses=[{"pointer": "/labels/0/end_s", "detail": "too late"}]),
            "/labels/0/end_s: too late",
        ),
    ],
)
def test_what_cannot_be_learnt_is_said_and_the_next_training_goes_on(caplog, tasks, server, words):
    studio = Studio(tasks)
    with fitting(server, studio) as (made, backend):
        backend.answer("/webhook", start())
        assert made.wait(PATIENCE_S)
        assert words in caplog.text
        studio.tasks, server.refuses = TASKS, None
        backend.answer("/webhook", start())
        assert made.wait(PATIENCE_S)
    assert len(server.taught) == 1


def test_the_annotation_that_counts_is_the_truth_or_the_last_changed():
    made = annotated(1, region(1, 20, "left"), region(21, 40, "right"))
    others = [
        {"result": [region(1, 5, "left")], "was_cancelled": True, "updated_at": "2026-09-01"},
        {"result": [region(1, 6, "left")], "updated_at": "2026-01-01"},
    ]
    server = TeachingServer()
    with fitting(server, Studio([made | {"annotations": others + made["annotations"]}])) as (f, _):
        f.fit(7)
        assert server.taught[-1]["labels"] == ROWS[:2]
    true = {"result": [region(1, 10, "right")], "ground_truth": True, "updated_at": "2025-01-01"}
    with fitting(server, Studio([made | {"annotations": [*made["annotations"], true]}])) as (f, _):
        f.fit(7)
        assert [(r["end_s"], r["label"]) for r in server.taught[-1]["labels"]] == [(1.0, "right")]


def test_the_flags_say_what_is_taught_and_when(tmp_path):
    (tmp_path / "task.toml").write_text('name = "hand"\nkind = "segment"\n')

    def parsed(*words):
        parser = argparse.ArgumentParser()
        command.add_arguments(parser)
        return command.fit_choices(parser.parse_args(["http://x", *words], command.Options()))

    flags = ("--teach", str(tmp_path / "task.toml"), "--fit-after", "5", "--project", "7")
    assert parsed(*flags) == FitChoices(TASK, None, 7, 5)
    assert parsed() is None
    with pytest.raises(ValueError, match="need --teach"):
        parsed("--fit-after", "5")
    with pytest.raises(SystemExit):
        parsed("--fit-after", "0")
