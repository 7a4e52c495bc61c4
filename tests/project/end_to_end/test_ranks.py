"""torchrun -m model.train: ended in the middle, gone on with another number of processes."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from bench.ego4d.tree import TreeSize, write_tree
from model.train.__main__ import main as train
from tests.project.end_to_end.conftest import ROOT, wait_for
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.slow(20)
PART = "mtl-ar+lta+oscc+pnr"
TORCHRUN = ["torch.distributed.run", "--nproc-per-node", "2", "-m"]


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """A short run without dropout, whose coins alone hang on the number of processes."""
    size = replace(TreeSize().scaled(0.02), width=12)
    root = write_tree(tmp_path_factory.mktemp("ego4d"), size).root
    settings = {"hidden_size": 8, "pooling_dropout": 0, "fit.epochs": 8, "fit.batch_size": 64,
                "fit.learning_rate": 1e-3}  # fmt: skip
    named = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    return ["--data", str(root), "--method", "mtl", "--workers", "1", *named, "--work"]


@pytest.fixture(scope="module")
def unbroken(words, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    assert finish_alone(words, folder) == 0
    return folder


def finish_alone(words, folder):
    before = torch.get_num_threads()
    try:
        return train([*words, str(folder)])
    finally:
        torch.set_num_threads(before)


def start(words, folder, *, launcher=()):
    """Starts a run whose processes write to run.log beside its folder."""
    with folder.with_name("run.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", *launcher, "model.train", *words, str(folder)],
            cwd=ROOT,
            stdout=log,
            stderr=log,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )


def say(folder):
    return folder.with_name("run.log").read_text()


def end_in_the_middle(process, folder, *, rank=None):
    """Sends SIGTERM as an epoch is over, or SIGKILL to one of the ranks; returns the exit code."""
    wait_for(lambda: list(folder.glob("*.checkpoint")), process, folder.with_name("run.log"))
    if rank is None:
        process.terminate()
    else:
        os.kill(rank_of(process, rank), signal.SIGKILL)
    try:
        return process.wait(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def rank_of(process, rank):
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for child in children:
        if f"RANK={rank}".encode() in Path(f"/proc/{child}/environ").read_bytes().split(b"\0"):
            return int(child)
    raise LookupError(rank)


def left_at(folder):
    state = torch.load(next(folder.glob("*.checkpoint")))
    return state["epoch"], len(state["losses"])


def assert_as_unbroken(folder, unbroken):
    ours, theirs = (load_file(f / f"{PART}.safetensors") for f in (folder, unbroken))
    # Adam makes whole steps of what is only rounding, so single numbers drift, by as much as 2e-3
    # seen; on average 1e-4. A run that is short of one of its epochs lies 7e-3 apart.
    apart = {name: float((ours[name] - values).abs().mean()) for name, values in theirs.items()}
    assert max(apart.values()) < 1e-3, apart
    assert names_in(folder) == names_in(unbroken)


def names_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_two_processes_asked_to_end_are_finished_by_one(words, unbroken, tmp_path):
    folder = tmp_path / "run"
    assert end_in_the_middle(start(words, folder, launcher=TORCHRUN), folder) != 0
    assert say(folder).count("stopped by SIGTERM after step") == 1
    epoch, steps = left_at(folder)
    assert epoch + steps > 0
    assert finish_alone(words, folder) == 0
    assert_as_unbroken(folder, unbroken)


def test_one_process_asked_to_end_is_finished_by_two(words, unbroken, tmp_path):
    folder = tmp_path / "run"
    assert end_in_the_middle(start(words, folder), folder) == 128 + signal.SIGTERM
    process = start(words, folder, launcher=TORCHRUN)
    assert process.wait(timeout=PATIENCE_S) == 0, say(folder)
    assert "resumed" in say(folder)
    assert_as_unbroken(folder, unbroken)


def test_a_rank_that_dies_ends_the_run_and_says_so(words, tmp_path):
    folder = tmp_path / "run"
    process = start(words, folder, launcher=TORCHRUN)
    assert end_in_the_middle(process, folder, rank=1) != 0
    assert "rank 0 of 2 has lost the others" in say(folder)
    assert "SIGKILL" in say(folder)
    assert not list(folder.glob("*.safetensors"))
