"""One whole training run on a tiny world, killed once on the way; several tests look at it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-m", "model.train", "--smoke", "--work"]


def start(folder: Path, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as errors:
        return subprocess.Popen(
            [*COMMAND, str(folder)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,  # so that its rendering processes die with it
            env={**os.environ, "OMP_WAIT_POLICY": "passive"},
        )


def wait_for(condition, process, log):
    while not condition():
        assert process.poll() is None, log.read_text()[-2000:]
        time.sleep(0.1)


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory):
    """The folder of a finished smoke run that was killed with SIGKILL as its encoder trained."""
    folder = tmp_path_factory.mktemp("smoke") / "run"
    log = folder.with_name("train.log")
    first = start(folder, log)
    wait_for(lambda: (folder / "footage.json").exists(), first, log)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    second = start(folder, log)
    assert second.wait() == 0, log.read_text()[-2000:]
    return folder
