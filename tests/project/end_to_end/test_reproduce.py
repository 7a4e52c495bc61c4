"""Methods x tasks x seeds on a tiny world: the whole command, interrupted and run again."""

import csv
import json
import os
import shutil
import signal
import subprocess
from statistics import fmean

import pytest

from model.train.__main__ import main as train
from tests.project.end_to_end.conftest import COMMAND, ROOT, wait_for

pytestmark = [pytest.mark.slow(40), pytest.mark.xdist_group("smoke")]


def arguments(smoke_run, work, *more):
    return [
        "reproduce", "--data", str(smoke_run / "world"), "--bundle", str(smoke_run / "bundle"),
        "--features", str(smoke_run / "features"), "--brief", "--seeds", "2",
        "--methods", "mlp", "mtl-ft", "egopack", "--tasks", "ar", "oscc",
        "--work", str(work), "--out", str(work / "results"), *more,
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
        for method in ("mlp", "mtl-ft", "egopack") for seed in "01" for split in ("val", "test")
    }  # fmt: skip


def test_differences_of_methods_are_of_the_figures_in_the_table(work):
    """A split of this world is one video, so no difference has an interval or is real."""
    scores = {}
    for method, *_, split, task, metric, value in figures(work / "results" / "scores.csv"):
        scores.setdefault((split, method, task, metric), []).append(float(value))
    differences = figures(work / "results" / "differences.csv")
    assert {row[:3] for row in differences} == {
        (split, "mtl-ft", method) for split in ("val", "test") for method in ("mlp", "egopack")
    }
    for split, reference, method, task, metric, seeds, value, *interval in differences:
        assert seeds == "2"
        ours, theirs = (scores[split, m, task, metric] for m in (method, reference))
        assert float(value) == pytest.approx(fmean(ours) - fmean(theirs), abs=1e-5)
        assert interval == ["", "", "0"]
    text = (work / "results" / "tables.md").read_text()
    assert "### Difference to MTL + FT, test" in text
    assert "EgoPack over MTL + FT: AR verb" in text


def test_scores_of_a_run_before_samples_were_kept_are_made_again(work, smoke_run, tmp_path):
    shutil.copytree(work, tmp_path / "work")
    path = tmp_path / "work" / "seed-0" / "mlp-ar.scores.json"
    kept = json.loads(path.read_text())
    path.write_text(json.dumps({**kept, "key": "other", "value": kept["value"]["metrics"]}))
    assert train(arguments(smoke_run, tmp_path / "work", "--jobs", "1")) == 0
    assert json.loads(path.read_text())["value"] == kept["value"]


def test_running_again_makes_nothing_again(work, smoke_run):
    made = {p: p.stat().st_mtime_ns for p in work.glob("seed-*/*")}
    before = figures(work / "results" / "scores.csv")
    assert train(arguments(smoke_run, work, "--jobs", "1")) == 0
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
