"""The process that learns: what it gets, how it ends, and that it ends with its job."""

import asyncio
import json
import os

import pytest

from server.errors import DeadlineExceeded, HostOutOfMemory, LabelsInvalid, OutOfMemory
from server.teaching import learning
from tests.support.waiting import wait_until


@pytest.fixture(autouse=True)
def _pupil(monkeypatch):
    monkeypatch.setattr(learning, "MODULE", "tests.model.train.new_skill.teaching.pupil")


def learn(folder, do, *, timeout_s=60.0, memory_mb=512):
    return learning.learn({"do": do}, folder, timeout_s=timeout_s, memory_mb=memory_mb)


def test_it_runs_behind_the_server_and_knows_none_of_its_secrets(tmp_path, monkeypatch):
    monkeypatch.setenv("EGOPACK_API_KEY", "sesame")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sesame")
    result = asyncio.run(learn(tmp_path, "learn"))
    facts = json.loads((result / "facts.json").read_text())
    assert facts["nice"] == min(19, os.nice(0) + learning.NICENESS)
    assert not [name for name in facts["environment"] if name.startswith(("EGOPACK", "AWS"))]


@pytest.mark.parametrize(
    ("do", "error", "words"),
    [
        ("refuse", LabelsInvalid, "/labels/3/end_s: too late"),
        ("eat", OutOfMemory, "more than 512 MiB"),
        ("die", HostOutOfMemory, "was killed"),
        ("fail", RuntimeError, "ended with status 1"),
    ],
)
def test_how_it_ends_is_told_apart(tmp_path, caplog, do, error, words):
    with pytest.raises(error, match=words):
        asyncio.run(learn(tmp_path, do))
    assert ("secret of the pupil" in caplog.text) == (do == "fail")


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("is_cancelled", [True, False])
def test_it_is_killed_with_its_job_and_when_its_time_is_over(tmp_path, is_cancelled):
    async def run():
        work = asyncio.create_task(learn(tmp_path, "hang", timeout_s=60 if is_cancelled else 0.5))
        if is_cancelled:
            await wait_until(lambda: (tmp_path / "pid").exists() and _pid(tmp_path))
            work.cancel()
            with pytest.raises(asyncio.CancelledError):
                await work
        else:
            with pytest.raises(DeadlineExceeded, match=r"over 0\.5 s"):
                await work

    asyncio.run(run())
    if is_cancelled:
        assert not is_running(int(_pid(tmp_path)))


def _pid(folder):
    return (folder / "pid").read_text()
