"""A server of the tiny bundle that is taught: clips, labels, and the calls of its callers."""

import asyncio
import csv
from contextlib import contextmanager
from unittest import mock

from extract.features.track_file import track_bytes
from model.train.new_skill.teaching.__main__ import main
from server.teaching import learning
from tests.server.support.fakes import make_settings
from tests.server.support.in_process import serving
from tests.support.own_tasks import write_labels
from tests.support.waiting import wait_for

SAFETENSORS = "application/x-safetensors"
TASK = {"name": "hand", "kind": "segment", "nodes": 3}


async def learn_here(request, folder, *, timeout_s, memory_mb):
    """Learns as the process does, in this one: a process takes seconds to start."""
    await learning.write_request(request, folder)
    status = await asyncio.to_thread(main, [str(folder)])
    return learning.result_of(status, folder, memory_mb)


@contextmanager
def teaching_app(bundle, **values):
    """Yields a client of a server that is ready; keyword arguments are settings."""
    settings = make_settings(bundle=bundle, **values)
    with mock.patch("server.teaching.teach_runner.learn", learn_here), serving(settings) as http:
        yield http


def keep(http, track, name=None, **headers):
    """Sends a track's features to be kept."""
    return http.post(
        "/v1/clips",
        params={"name": name or track.video_id},
        content=track_bytes(track),
        headers={"content-type": SAFETENSORS, **headers},
    )


def rows_of(folder, *, videos="abc"):
    """Labels of a few videos as JSON, all to learn from."""
    with write_labels(folder, "hand").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["video"] in videos]
    return [
        {
            "video": row["video"],
            "start_s": float(row["start_s"]),
            "end_s": float(row["end_s"]),
            "label": row["label"],
        }
        for row in rows
    ]


def teach(http, labels, *, headers=None, task=None, **more):
    """Asks for a skill; a text is CSV."""
    given = {"labels_csv": labels} if isinstance(labels, str) else {"labels": labels}
    body = {"task": {**TASK, **(task or {})}, **given, **more}
    return http.post("/v1/skills", json=body, headers=headers)


def ended(http, response, headers=None):
    """Returns a job that was accepted, once it has ended."""
    assert response.status_code == 202, response.text
    path = response.headers["location"]

    def look():
        job = http.get(path, headers=headers).json()
        return None if job["state"] in ("queued", "running") else job

    return wait_for(look)


def report(http, response, headers=None):
    """Returns the result of a job that succeeds."""
    job = ended(http, response, headers)
    assert job["state"] == "succeeded", job
    return http.get(job["links"]["result"], headers=headers).json()
