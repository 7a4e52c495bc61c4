"""No setting is accepted and then ignored: refused are exactly those that change nothing."""

from dataclasses import fields, replace

import pytest
import torch

from model.config import FitConfig, Learning, ModelConfig
from model.errors import SettingInvalid
from model.evaluate.calibration import collect_logits
from model.tasks import TASKS
from model.train.assemble import score_splits
from model.train.effects import FIT, RULES, check_settings
from model.train.ledger import Ledger
from model.train.methods.trainer import ALL_TASKS, LABELS, Trainer, parts_of
from model.train.options import override
from model.train.pipeline import TrainingPipeline, plan
from model.train.presets import on_own_backbones
from tests.model.support.small_training import prepared
from tests.support.factories import NUM_LABELS, TINY, make_samples

OTHERWISE = {
    "hidden_size": "16", "vectors_per_node": "2", "num_layers": "2", "norm": "batch",
    "final_linear": "true", "pooling_dropout": "0.4", "head_dropout": "0.4",
    "skill_dropout": "0.4", "num_neighbours": "1", "interaction_layers": "1",
    "interaction": "paper", "interaction_skip": "false", "distance": "l2", "rematch": "false",
    "prototypes": "divided", "fusion": "mean", "graph_fusion": "mean", "future_edges": "last",
    "subsegments": "random", "windows": "overlapping", "instants": "start",
    "greedy_first": "true", "future_temperature": "0.2", "keyframe_rate": "30",
    "future_choice": "independent", "future_samples": "9",
    "fit.epochs": "2", "fit.learning_rate": "0.02", "fit.batch_size": "7",
    "fit.weight_decay": "0.5", "fit.warmup_epochs": "0", "fit.context_dropout": "0.5",
    "fit.feature_dropout": "0.3", "fit.label_smoothing": "0.2", "fit.decoupled_decay": "true",
    "fit.schedule": "epoch", "fit.task_losses": "sum", "fit.node_loss": "all",
    "fit.keyframe_crop": "ego4d", "fit.tune_backbone": "false", "fit.tune_heads": "true",
}  # fmt: skip
"""Every setting that can matter on a CPU, and a value that the models below do not have."""

NEEDS_GPU = "fit.precision"  # tests/model/train/test_presets.py holds what it does there
NEVER = ("input_size", "window_frames", "stride_frames")

BASE = FitConfig(epochs=1, learning_rate=1e-2, batch_size=16, warmup_epochs=0.5, weight_decay=1e-2)
START = Learning(
    replace(TINY, hidden_size=8, future_choice="set"),
    BASE,
    on_own_backbones(BASE),
    dict.fromkeys(TASKS, BASE),
)
TRAIN, VAL = make_samples(seed=4), make_samples(seed=9)

ORDER = ("mlp", "temporal", "mtl", "mtl-ft", "egopack", "tt", "mtl-tt", "mtl-pcgrad",
         "egopack-shared")  # fmt: skip


def is_refused(settings, method, tasks=ALL_TASKS, start=START):
    learning = override(start, settings)
    try:
        check_settings(settings, learning, plan(parts_of(method, tasks), tasks))
    except SettingInvalid:
        return True
    return False


@pytest.fixture(scope="module")
def learn(tmp_path_factory):
    """Settings and method -> logits and metrics, each kind of training done once."""
    folder = tmp_path_factory.mktemp("parts")
    data = prepared()

    def learnt(settings, method):
        learning = override(START, settings)
        trainer = Trainer(TRAIN, NUM_LABELS, learning, 0, progress=False)
        models = TrainingPipeline(trainer, Ledger(folder, {}), "samples").models(parts_of(method))
        logits = collect_logits(models, VAL, learning.model)[0]
        flat = {f"{t}.{n}": v for t, by in logits.items() for n, v in by.items()}
        return flat, score_splits(models, data.samples, learning.model)[1]["val"]

    return learnt


def same(one, other):
    return one[1] == other[1] and all(torch.equal(one[0][n], other[0][n]) for n in one[0])


def test_every_field_of_the_configs_has_a_rule():
    names = {f.name for f in fields(ModelConfig)} | {f"{FIT}{f.name}" for f in fields(FitConfig)}
    assert names == set(RULES) == {*OTHERWISE, NEEDS_GPU, *NEVER}


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERWISE)
def test_a_setting_that_is_taken_changes_what_comes_out(learn, name):
    settings = [f"{name}={OTHERWISE[name]}"]
    method = next(m for m in ORDER if not is_refused(settings, m))
    assert not same(learn(settings, method), learn([], method))


@pytest.mark.slow
@pytest.mark.parametrize("method", LABELS)
def test_settings_that_are_refused_change_nothing(learn, method):
    every = [f"{name}={value}" for name, value in OTHERWISE.items()]
    refused = [setting for setting in every if is_refused([setting], method)]
    assert bool(refused) == (method != "egopack")
    assert same(learn(refused, method), learn([], method))


@pytest.mark.parametrize(
    ("settings", "method", "tasks", "said"),
    [
        (["fit.tune_heads=true"], "egopack-shared", ALL_TASKS, "--protocol paper"),
        (["fit.tune_backbone=true"], "egopack-shared", ALL_TASKS, "--protocol paper"),
        (["fit.tune_heads=true"], "mtl-ft", ALL_TASKS, "--protocol paper"),
        (["num_layers=2"], "mlp", ALL_TASKS, "more than the MLP"),
        (["num_layers=0", "norm=batch"], "mtl", ALL_TASKS, "a temporal graph"),
        (["num_neighbours=8"], "mtl", ALL_TASKS, "a backpack"),
        (["interaction=paper", "interaction_skip=false"], "egopack", ALL_TASKS, "authors"),
        (["interaction_layers=1", "rematch=false"], "egopack", ALL_TASKS, "above 1"),
        (["fusion=features", "graph_fusion=mean"], "egopack", ALL_TASKS, "other than features"),
        (["fit.weight_decay=0", "fit.decoupled_decay=true"], "mtl", ALL_TASKS, "weight_decay"),
        (["fit.keyframe_crop=ego4d"], "mtl", ("ar", "lta"), "PNR among the tasks"),
        (["greedy_first=true"], "mtl", ("ar", "pnr"), "LTA among the tasks"),
        (["future_choice=independent", "future_samples=9"], "mtl", ALL_TASKS, "future_choice=set"),
        (["fit.label_smoothing=0.1"], "temporal", ("pnr",), "a task besides PNR"),
        (["fit.task_losses=sum"], "temporal", ALL_TASKS, "several tasks"),
        (["input_size=7"], "egopack", ALL_TASKS, "read off the features"),
        (["hidden_size=12"], "tt", ALL_TASKS, "Task Translation needs a multiple of 8, got 12"),
    ],
)
def test_what_has_no_effect_is_named_with_what_it_needs(settings, method, tasks, said):
    learning = override(START, settings)
    with pytest.raises(SettingInvalid, match=said):
        check_settings(settings, learning, plan(parts_of(method, tasks), tasks))
