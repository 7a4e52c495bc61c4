"""The baselines that speed is measured against compute what ours computes."""

import argparse

import pytest
import torch

from bench.authors import reasoning, training
from bench.duel import duel, times_faster
from bench.features import encoder, trunk

SIZES = {"hidden_size": 16, "input_size": 8, "batch_size": 2, "rounds": 1, "threads": 1}


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_reasoning_agrees_with_the_baseline_and_counts_one_pass():
    figures = reasoning.run(argparse.Namespace(**SIZES, prototypes=30))
    assert figures["greatest_difference"] <= reasoning.TOLERANCE
    assert figures["backbone_passes"] == {"ours": 1, "authors": 4}
    assert "GPU: not measured" in reasoning.table(figures)


@pytest.mark.slow
@pytest.mark.usefixtures("threads")
def test_training_agrees_with_the_baseline_in_logits_and_losses():
    figures = training.run(argparse.Namespace(**SIZES, videos=2, steps=3, workers=0))
    assert figures["greatest_difference"] <= training.TOLERANCE
    assert figures["steps_timed"] == 2  # the last step of a block has no end
    assert figures["epoch_steps"] == 41_085 // 2
    assert "epoch" in training.table(figures)


@torch.inference_mode()
def test_a_baseline_that_computes_something_else_is_not_timed():
    config = reasoning.replace(reasoning.AUTHORS.model, input_size=8, hidden_size=16)
    both = reasoning.make_contenders(config, 30)
    inputs = reasoning.make_inputs(config, 2)
    batches = {t: reasoning.as_batch(reasoning.TASKS[t], x, config) for t, x in inputs.items()}
    assert reasoning.compare(both, inputs, batches, trimmed=False) <= reasoning.TOLERANCE
    both.theirs["lta"].backbone.convs[1].lin_l.weight.mul_(1.01)
    with pytest.raises(ArithmeticError, match="same logits"):
        reasoning.compare(both, inputs, batches, trimmed=False)


@pytest.mark.slow
@pytest.mark.usefixtures("threads")
def test_the_trunk_agrees_with_the_baseline_and_its_parts_are_seen():
    figures = trunk.run(
        argparse.Namespace(
            batches=[2], rounds=1, stage_rounds=0, threads=1, whole=False, compiled=False
        )
    )
    assert figures["rows"]["tabletop, batch 2"]["greatest_difference"] <= trunk.TOLERANCE
    for way in ("ours", "torchvision"):  # an operator that is renamed would leave its part empty
        assert min(figures["parts_ms"][way].values()) > 0
    assert "GPU: not measured" in trunk.table(figures)


@pytest.mark.slow
@pytest.mark.usefixtures("threads")
def test_the_runtimes_agree_and_the_choice_is_compared():
    arguments = argparse.Namespace(
        bundle=encoder.SHIPPED_BUNDLE, batches=[2], rounds=1, threads=[1]
    )
    figures = encoder.run(arguments)
    (row,) = figures["rows"].values()
    assert row["greatest_difference"] <= encoder.TOLERANCE
    assert row["chosen"] == figures["auto"]["1"]["name"]
    assert row["over_torchvision"] > 0
    assert "GPU: not measured" in encoder.table(figures)


def test_a_runtime_that_says_something_else_is_not_timed():
    ways = {"torchvision": lambda x: x.float(), "onnx": lambda x: x.float() * 1.001}
    with pytest.raises(ArithmeticError, match="same features"):
        encoder.compare(ways, torch.ones(2, 3))


def test_the_blocks_of_swinl_are_counted_as_often_as_they_occur():
    times = {way: {"cpu_ms": ms} for way, ms in (("ours", 1.0), ("torchvision", 2.0))}
    rows = {f"Swin-L, stage {stage}": {"times": times} for stage in (1, 2, 3, 4)}
    assert trunk.swinl_blocks(rows, "cpu_ms") == {"ours": 12.0, "torchvision": 24.0}


@torch.inference_mode()
def test_a_trunk_that_computes_something_else_is_not_timed():
    small = trunk.SwinConfig((4, 8, 8), 12, (2,), (2,), (4, 3, 4))
    pair, pixels = trunk.make_pair(small), torch.randn(1, 3, 16, 48, 64)
    assert trunk.compare(pair, pixels) <= trunk.TOLERANCE
    pair["torchvision"].norm.weight.mul_(1.01)
    with pytest.raises(ArithmeticError, match="same numbers"):
        trunk.compare(pair, pixels)


def test_ways_take_turns_and_the_first_turn_does_not_count():
    seen = []
    figures = duel({"a": lambda: seen.append("a"), "b": lambda: seen.append("b")}, rounds=2,
                   label="test")  # fmt: skip
    assert seen == ["a", "b"] * 3
    assert set(figures) == {"a", "b"}


def test_a_ratio_is_taken_by_the_clock_where_threads_share_the_work():
    figures = {"a": {"cpu_ms": 2.0, "wall_ms": 1.0}, "b": {"cpu_ms": 6.0, "wall_ms": 5.0}}
    assert times_faster(figures, "a", "b", threads=1) == 3.0
    assert times_faster(figures, "a", "b", threads=2) == 5.0
