"""Tests of the distribution of tests over workers."""

import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

CONFTEST = """
import os
from tests.support import parallel
from tests.support.parallel import make_scheduler as pytest_xdist_make_scheduler

def pytest_collection_modifyitems(items):
    parallel.name_groups(items)

def pytest_runtest_call(item):
    with open(os.environ["SEEN"], "a") as seen:
        seen.write(f"{item.path.name} {os.environ['PYTEST_XDIST_WORKER']}\\n")
"""

TESTS = """
import pytest

{mark}

@pytest.mark.parametrize("value", [1, "a@b"])
def test_it(value):
    assert value
"""


@pytest.mark.slow(4)
def test_a_group_and_the_tests_of_a_file_stay_on_one_worker(tmp_path, monkeypatch):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    group = "pytestmark = pytest.mark.xdist_group('shared')"
    for name, mark in {"a": group, "b": group, "c": "", "d": ""}.items():
        (tmp_path / f"test_{name}.py").write_text(TESTS.format(mark=mark))
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadgroup", "-q"]
    subprocess.run(
        [*command, "-c", "/dev/null", f"--rootdir={tmp_path}", str(tmp_path)], check=True
    )

    workers = defaultdict(set)
    for line in (tmp_path / "seen").read_text().splitlines():
        name, worker = line.split()
        workers[name].add(worker)
    assert len(workers) == 4
    assert all(len(found) == 1 for found in workers.values())
    assert workers["test_a.py"] == workers["test_b.py"]
    assert len(set.union(*workers.values())) == 2
