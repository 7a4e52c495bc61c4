"""A real server, killed at every stage of a job that teaches: nothing is lost, nothing is half."""

import os
import signal

import httpx
import pytest

from clients.local import LocalServer
from extract.features.track_file import track_bytes
from model.predict.predictor import Predictor
from tests.server.teaching.teaching_app import TASK, rows_of
from tests.support.factories import make_bundle
from tests.support.own_tasks import write_features
from tests.support.waiting import PATIENCE_S, wait_for
from weights.bundle import save_bundle
from weights.bundle.files import manifest_sha256

pytestmark = [pytest.mark.slow(60), pytest.mark.service]

FLAGS = ("--job-lease-s", "1", "--job-max-attempts", "20")


def any_of(folder, pattern):
    return lambda: any(folder.glob(pattern))


STAGES = {
    "accepted": lambda _: lambda: True,
    "learning": lambda folder: any_of(folder, "work/*/log"),
    "version written": lambda folder: any_of(folder, "skills/hand/1/version.json"),
    "bundle written": lambda folder: any_of(folder, "bundles/*/manifest.json"),
}
"""Stage -> what is true from then on, of the folder of teaching."""


def test_a_job_outlives_a_kill_at_each_of_its_stages(tmp_path):
    bundle, state = tmp_path / "bundle", tmp_path / "state"
    save_bundle(make_bundle(), bundle)
    store = write_features(tmp_path / "features", Predictor.from_bundle(bundle).encoder)
    flags = (*FLAGS, "--bundle", str(bundle), "--state-dir", str(state))
    path = None
    for stage, reached in STAGES.items():
        with LocalServer(*flags) as server, client(server) as http:
            assert served_sha256(http) == manifest_sha256(bundle), stage
            if path is None:
                path = begin(http, store, rows_of(tmp_path))
            wait_for(reached(state / "teaching"), pause_s=0.001)
            os.kill(server.pid, signal.SIGKILL)
        assert not (state / "teaching" / "active.json").exists(), stage
    with LocalServer(*flags) as server, client(server) as http:
        job = wait_for(lambda: ended(http.get(path).json()))
        assert job["state"] == "succeeded", job
        assert job["attempt"] > 2
        assert http.get(job["links"]["result"]).json()["version"] == 1
        (skill,) = http.get("/v1/skills").json()["skills"]
        assert (skill["active_version"], len(skill["versions"])) == (1, 1)
        assert "hand" in http.get("/v1/models").json()["models"][0]["tasks"]
        assert len(list((state / "teaching" / "bundles").iterdir())) == 1
        served = served_sha256(http)
        os.kill(server.pid, signal.SIGKILL)
    with LocalServer(*flags) as server, client(server) as http:
        assert served_sha256(http) == served


def client(server):
    return httpx.Client(base_url=server.url, trust_env=False, timeout=PATIENCE_S)


def begin(http, store, rows):
    """Keeps three clips and asks for a skill; returns the job's path."""
    for video in "abc":
        kept = http.post(
            "/v1/clips", params={"name": video}, content=track_bytes(store.read(video)),
            headers={"content-type": "application/x-safetensors"},
        )  # fmt: skip
        assert kept.status_code == 201, kept.text
    asked = http.post("/v1/skills", json={"task": TASK, "labels": rows, "activate": True})
    assert asked.status_code == 202, asked.text
    return asked.headers["location"]


def ended(job):
    return None if job["state"] in ("queued", "running") else job


def served_sha256(http):
    return http.get("/v1/models").json()["models"][0]["sha256"]
