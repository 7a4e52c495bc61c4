"""The guard: no test that `make test-fast` selects starts a service."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.services import SERVICE, command_of

MAKEFILE = Path(__file__).parents[2] / "Makefile"
COMMANDS = [
    [sys.executable, "-m", "server", "--help"],
    [sys.executable, "-m", "tests.server.support.fakes"],
    [sys.executable, "-m", "tests.server.jobs.support.fake_server", "{}"],
    [sys.executable, "-m", "ray.scripts.scripts", "start", "--head"],
    ["/usr/lib/ray/core/src/ray/gcs/gcs_server"],
    ["/usr/bin/chromedriver", "--port=0"],
    ["/usr/lib/postgresql/17/bin/initdb", "-D", "data"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: Path(words[-1]).name)
def test_a_test_without_the_mark_cannot_start_a_service(command):
    with pytest.raises(RuntimeError, match="not marked"):
        subprocess.Popen(command)


@pytest.mark.service
def test_a_test_with_the_mark_can():
    with pytest.raises(FileNotFoundError):
        subprocess.Popen(["/nowhere/chromedriver"])


@pytest.mark.parametrize("command", ["python -m serverless", "python -m extract.sandbox.worker"])
def test_other_commands_are_no_services(command):
    assert not SERVICE.search(command_of(command))


def test_the_fast_selection_leaves_out_services():
    target = re.search(r"^test-fast:.*\n(?:\t.*\n)+", MAKEFILE.read_text(), re.MULTILINE)
    assert "not service" in target.group()
