"""Commands as users start them, in processes of their own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.support.waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "weights" / "tabletop"
COUNTS = (600, 500, 33, 400, 1, 300, 200)
"""Frames of the clips."""


class Run:
    """A command under way."""

    def __init__(self, *arguments: object, environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", *map(str, arguments)],
            cwd=ROOT,
            env={**os.environ, **environment, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self) -> tuple[int, str, str]:
        """Waits; returns status, standard output and standard error."""
        printed, said = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, printed, said

    def wait_for(self, is_so: Callable[[], bool]) -> None:
        """Waits until something is so, while it runs."""
        while not is_so():
            assert self.process.poll() is None, self.end()
            time.sleep(0.01)


def features_in(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def verdicts(out: Path) -> dict[str, tuple]:
    """What a report says of each video, without what differs from run to run."""
    videos = json.loads((out / "report.json").read_text())["videos"]
    facts = ("status", "path", "windows", "why", "detail")
    return {id: tuple(entry[name] for name in facts) for id, entry in videos.items()}
