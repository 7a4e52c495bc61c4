"""Methods x tasks x seeds on a tiny world: the whole command, interrupted and run again."""

import csv
import os
import signal
import subprocess

import pytest

from model.train.__main__ import main as train
from tests.project.end_to_end.conftest import COMMAND, ROOT, wait_for

pytestmark = [pytest.mark.slow(40), pytest.mark.xdist_group("smoke")]


def arguments(smoke_run, work, *more):
    return [
        "reproduce", "--data", str(smoke_run / "world"), "--bundle", str(smoke_run / "bundle"),
        "--features", str(smoke_run / "features"), "--brief", "--seeds", "2",
        "--methods", "mlp", "egopack", "--work", str(work), "--out", str(work / "results"), *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def work(smoke_run, tmp_path_factory):
    """A finished run that was killed with SIGKILL in its middle."""
    work = tmp_path_factory.mktemp("reproduce")
    log = work / "log"
    with log.open("ab") as errors:
        first = subprocess.Popen(
            [*COMMAND[:3], *arguments(smoke_run, work)],
            cwd=ROOT, stdout=errors, stderr=errors, start_new_session=True,
        )  # fmt: skip
    wait_for(lambda: (work / "seed-0" / "mlp-oscc.json").exists(), first, log)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert train(arguments(smoke_run, work)) == 0
    return work


def figures(path):
    with path.open(newline="") as file:
        return [tuple(row.values()) for row in csv.DictReader(file)]


def test_the_table_has_every_method_and_says_nothing_of_ego4d(work):
    text = (work / "results" / "tables.md").read_text()
    assert "| MLP |" in text
    assert "| EgoPack |" in text
    assert "±" in text
    assert "paper" not in text
    rows = figures(work / "results" / "scores.csv")
    assert {(row[0], row[3], row[4]) for row in rows} == {
        (method, seed, split)
        for method in ("mlp", "egopack") for seed in "01" for split in ("val", "test")
    }  # fmt: skip


def test_running_again_makes_nothing_again(work, smoke_run):
    made = {p: p.stat().st_mtime_ns for p in work.glob("seed-*/*")}
    before = figures(work / "results" / "scores.csv")
    assert train(arguments(smoke_run, work)) == 0
    assert {p: p.stat().st_mtime_ns for p in work.glob("seed-*/*")} == made
    assert figures(work / "results" / "scores.csv") == before


def test_a_run_that_was_never_killed_gives_the_same_figures(work, smoke_run, tmp_path):
    assert train(arguments(smoke_run, tmp_path, "--jobs", "1")) == 0
    ours, theirs = (figures(w / "results" / "scores.csv") for w in (work, tmp_path))
    assert ours == theirs


def test_data_that_is_not_there_says_what_is_missing(smoke_run, tmp_path, capsys):
    command = arguments(smoke_run, tmp_path)
    command[command.index("--data") + 1] = str(tmp_path)
    assert train(command) == 2
    assert "ego4d --output_directory" in capsys.readouterr().err
