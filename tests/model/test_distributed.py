import itertools
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.config import FitConfig
from model.distributed import ALONE, World, _own_gpu, joined, mean_over_ranks
from model.errors import RanksWrong
from model.tasks import TASKS
from model.train.__main__ import main as train
from model.train.fit import FitJob, TrainState, _rest_of_epoch
from model.train.methods.losses import task_loss
from tests.model.support.trained_by_ranks import (
    STILL,
    train_all,
    train_with_dropout,
    uneven_samples,
)
from tests.support.factories import NUM_LABELS
from tests.support.waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]
FIT = FitConfig(epochs=1, learning_rate=1e-3, label_smoothing=0.1)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What two real processes found, each its own."""
    folder = tmp_path_factory.mktemp("two")
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
         "-m", "tests.model.support.trained_by_ranks", str(folder)],
        cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, timeout=PATIENCE_S,
    )  # fmt: skip
    return [torch.load(folder / f"rank-{rank}.pt") for rank in range(2)]


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield train_all(ALONE, tmp_path_factory.mktemp("one"))
    torch.set_num_threads(before)


@pytest.mark.slow
def test_two_processes_train_what_one_does(one, two):
    found = two[0]["found"]
    assert found.keys() == one.keys()
    for name, tensors in one.items():
        assert len(tensors["curve"]) > 1
        assert tensors["curve"].isfinite().all(), name
        torch.testing.assert_close(
            found[name]["curve"], tensors["curve"], atol=1e-5, rtol=0, msg=lambda m, n=name: n + m
        )
        for key, values in tensors.items():
            if not key.endswith("in_proj_bias"):  # keys' part: no gradient but rounding, which
                torch.testing.assert_close(  # Adam makes steps of
                    found[name][key], values, atol=1e-4, rtol=0, msg=lambda m, k=key: k + m
                )


@pytest.mark.slow
def test_all_ranks_hold_the_same_bits(two):
    first, second = (rank["found"] for rank in two)
    for name, tensors in first.items():
        for key, values in tensors.items():
            assert torch.equal(values, second[name][key]), f"{name}: {key}"


@pytest.mark.slow
def test_with_dropout_two_processes_differ_from_one_by_less_than_seeds_do(two):
    seeds = [torch.tensor(train_with_dropout(ALONE, seed)) for seed in range(3)]
    ours = torch.tensor(two[0]["noisy"])
    between = [(a - b).abs().mean() for a, b in itertools.combinations(seeds, 2)]
    assert 0 < (ours - seeds[0]).abs().mean() < max(between)


@pytest.mark.parametrize("count", [0, 1, 2, 5, 16])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_parts_are_everything_once_and_nearly_even(count, size):
    parts = [list(range(count))[World(rank, size).part(count)] for rank in range(size)]
    assert list(itertools.chain(*parts)) == list(range(count))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("size", [2, 3, 8])
def test_parts_of_a_batch_are_drawn_as_in_the_whole_and_their_losses_add_up(task, size):
    samples, which = uneven_samples()[task], torch.tensor([4, 0, 3, 1, 2])
    config = replace(STILL, subsegments="random")

    def draw(part):
        generator = torch.Generator().manual_seed(1)
        return samples.draw(which, config, generator=generator, context_dropout=0.5, part=part)

    whole = draw(None)
    parts = [draw(World(rank, size).part(len(which))) for rank in range(size)]
    assert torch.equal(torch.cat([p.inputs for p in parts]), whole.inputs)
    logits = {
        name: torch.randn(*labels.shape, NUM_LABELS[name], requires_grad=True)
        for name, labels in whole.labels.items()
    }
    spec = TASKS[task]
    task_loss(spec, logits, whole.labels, config=FIT).backward()
    expected = {name: values.grad.clone() for name, values in logits.items()}
    for values in logits.values():
        values.grad = None
    begin, total = 0, torch.zeros(())
    for part in parts:
        end = begin + len(part.inputs)
        own = {name: values[begin:end] for name, values in logits.items()}
        loss = task_loss(spec, own, part.labels, config=FIT, shares=part.shares)
        loss.backward()
        begin, total = end, total + loss.detach()
    torch.testing.assert_close(total, task_loss(spec, logits, whole.labels, config=FIT).detach())
    for name, values in logits.items():
        torch.testing.assert_close(values.grad, expected[name])


def test_ranks_draw_the_same_batches_and_toss_different_coins():
    drawn, tossed = [], []
    for rank in range(2):
        fitting = FitJob(FIT, 0, world=World(rank, 2))
        drawn += _rest_of_epoch(lambda g: iter([torch.rand(4, generator=g)]), TrainState(), fitting)
        tossed.append(torch.rand(4))
    assert torch.equal(*drawn)
    assert not torch.equal(*tossed)


def test_without_others_nothing_is_exchanged():
    grads = [torch.ones(2), torch.zeros(())]
    assert all(a is b for a, b in zip(ALONE.all_reduce_sum(grads), grads, strict=True))
    assert ALONE.once(lambda: 3) == ALONE.all_reduce_max(3) == ALONE.gather(3)[0] == 3
    assert float(mean_over_ranks(torch.arange(5.0))) == 2.0
    with joined("cuda:7") as (world, device):
        assert (world, device) == (ALONE, "cuda:7")


@pytest.mark.parametrize(
    ("device", "said"), [("cuda:1", "--device cuda$"), ("cuda", "2 processes, but GPUs: 0")]
)
def test_gpus_that_do_not_go_round_are_refused(device, said, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(RanksWrong, match=said):
        _own_gpu(device, 0, 2)


@pytest.mark.parametrize("words", [["reproduce"], ["--learn", "task.toml"]])
def test_commands_that_do_not_train_one_model_say_so_under_torchrun(words, monkeypatch, capsys):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert train(words) == 2
    assert "with python, not torchrun" in capsys.readouterr().err
