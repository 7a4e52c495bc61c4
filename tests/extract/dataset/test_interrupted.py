"""A run that is stopped at any point, and run again, leaves what an unbroken run leaves."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.extract.support.clips import write_numbered
from tests.support.waiting import PATIENCE_S

ROOT = Path(__file__).parents[3]
COUNTS = (900, 33, 500, 1, 300, 600, 400, 200)


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    for k, count in enumerate(COUNTS):
        write_numbered(folder / f"video-{k}.mp4", count)
    (folder / "bad.mp4").write_bytes(b"nothing")
    return folder


@pytest.fixture
def start(bundle, videos, tmp_path):
    def start(out, *more):
        arguments = [videos, "--out", out, "--encoder", bundle, "--workers", "2", *more]
        return subprocess.Popen(
            [sys.executable, "-m", "extract", *map(str, arguments)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    return start


def end(process):
    printed, _ = process.communicate(timeout=PATIENCE_S)
    return process.returncode, json.loads(printed)


def files_in(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "report.json"}


def has_begun(out, process):
    """Waits until the run writes its report: decoding starts right after."""
    before = began_at(out)
    while began_at(out) == before:
        assert process.poll() is None, "ended before it began"
        time.sleep(0.005)


def began_at(out):
    path = out / "report.json"
    return path.stat().st_mtime_ns if path.exists() else None


@pytest.mark.slow(30)
def test_a_run_that_is_killed_is_completed_by_the_next(start, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    code, summary = end(start(whole))
    assert (code, summary["written"], list(summary["failed"])) == (3, len(COUNTS), ["bad"])
    wait = random.Random(0)
    partials = []
    for done in range(3):
        process = start(broken)
        has_begun(broken, process)
        while len(list(broken.glob("*.safetensors"))) < done:
            time.sleep(0.001)
        time.sleep(wait.uniform(0.0, 0.1))
        process.kill()
        process.communicate()
        partials.append(len(list(broken.glob("*.safetensors"))))
    assert partials[0] < len(COUNTS), "killed too late to show anything"
    (broken / f".video-1.safetensors.{'0' * 32}.tmp").write_bytes(b"half a file")
    (broken / "video-1.safetensors").unlink(missing_ok=True)
    assert partials == sorted(partials), "a file that was whole is gone"
    code, summary = end(start(broken))
    assert (code, list(summary["failed"])) == (3, ["bad"])
    assert files_in(broken) == files_in(whole)


@pytest.mark.slow(30)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_with_its_own_status_and_the_next_goes_on(start, tmp_path, number):
    out = tmp_path / "features"
    process = start(out)
    has_begun(out, process)
    process.send_signal(number)
    code, summary = end(process)
    assert code == 128 + number
    assert summary["stopped_by"] == number.name
    assert not list(out.glob(".*"))
    assert len(list(out.glob("*.safetensors"))) == summary["written"] < len(COUNTS)
    code, again = end(start(out))
    assert code == 3
    assert again["skipped"] == summary["written"]
    assert again["written"] == len(COUNTS) - again["skipped"]
