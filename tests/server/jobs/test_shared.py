"""Front ends on several machines: jobs in one PostgreSQL, the bundle in one bucket."""

import json
import os

import psycopg
import pytest

from server.engine.health import CANARY
from tests.server.api.test_serve import post, started
from tests.support.waiting import wait_for
from weights import SHIPPED_BUNDLE
from weights.bundle.files import push_files, read_files

pytestmark = pytest.mark.service

S3 = "s3://bucket/bundles/tabletop"


def submit(http, seed):
    files = {
        "video": ("clip.mp4", CANARY.read_bytes()),
        "request": (None, json.dumps({"seed": seed}), "application/json"),
    }
    answer = http.post("/v1/predictions", files=files, headers={"prefer": "respond-async"})
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def without_times(answer):
    return {key: value for key, value in answer.items() if key not in ("id", "timings")}


@pytest.mark.slow
def test_what_one_front_end_accepts_another_answers_and_both_can_show(
    storage, postgres, tmp_path, monkeypatch
):
    push_files(read_files(SHIPPED_BUNDLE), S3)
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE shared")
    monkeypatch.setenv("EGOPACK_JOB_DATABASE", postgres.url("shared"))
    monkeypatch.setenv("EGOPACK_STATE_DIR", str(tmp_path / "state"))

    def flags(name, workers):
        os.environ["EGOPACK_CACHE"] = str(tmp_path / name)  # each machine has its own
        return ("-m", "server", "--bundle", S3, "--port", "0", "--decode-workers", "1",
                "--runtime", "torch", "--job-workers", workers)  # fmt: skip

    monkeypatch.setenv("EGOPACK_CACHE", "")
    with started(*flags("a", "0")) as (_, front):
        ids = [submit(front, seed) for seed in range(3)]
        assert {job["state"] for job in front.get("/v1/jobs").json()["jobs"]} == {"queued"}
        with started(*flags("b", "1")) as (_, other):
            jobs = lambda http: http.get("/v1/jobs").json()["jobs"]  # noqa: E731
            wait_for(lambda: {job["state"] for job in jobs(front)} == {"succeeded"})
            assert sorted(job["id"] for job in jobs(other)) == sorted(ids)
            results = {
                job: [http.get(f"/v1/jobs/{job}/result").json() for http in (front, other)]
                for job in ids
            }
        direct = without_times(post(front, CANARY.read_bytes()).json())
    for one, two in results.values():
        assert one == two
        assert one["model"] == direct["model"]
        assert one["segments"] == direct["segments"]
