from dataclasses import replace

import numpy as np
import pytest
import torch

from model.evaluate.calibration import collect_logits
from model.evaluate.scoring import per_sample, score_logits, score_split
from model.evaluate.unseen import baselines
from model.tasks import AR, LTA, PNR, TASKS
from tests.model.support.samples import make_samples, make_split
from tests.support.factories import TINY, make_skills

# What a user may add: a task per readout, with label spaces of its own.
TOOL = replace(AR, name="tool", outputs=("tool",))
NEXT = replace(LTA, name="next", outputs=("tool",))
SPOT = replace(PNR, name="spot", outputs=("moment",))
SPACES = {"tool": 8, "moment": 1}


def random_logits(samples, num_labels, *, seed=0):
    g = torch.Generator().manual_seed(seed)
    spec = samples.spec
    nodes = spec.num_future or (spec.num_nodes if spec.readout == "nodes" else 1)
    return {
        name: torch.randn(len(samples), nodes, num_labels[name], generator=g)
        for name in spec.outputs
    }


@pytest.fixture(scope="module")
def answered():
    split = make_split(30)
    return split, *collect_logits(make_skills().task_models(), split, TINY)


def test_the_figures_are_the_means_of_the_samples(answered):
    split, logits, labels = answered
    values = per_sample(logits, labels, split, TINY)
    figures = score_logits(logits, labels, split, TINY, {})
    assert set(values) == set(figures) == set(TASKS)
    for task, metrics in values.items():
        for name, v in metrics.items():
            assert v.shape == (30,)
            assert figures[task][name] == v.mean()
        assert figures[task]["samples"] == 30


def test_scoring_a_split_is_collecting_and_scoring_its_logits(answered):
    split, logits, labels = answered
    assert score_split(make_skills(), split, TINY, {"ar.verb": 2.0}, seed=4) == score_logits(
        logits, labels, split, TINY, {"ar.verb": 2.0}, seed=4
    )


@pytest.mark.parametrize("kept", [["ar"], ["lta"], ["pnr", "oscc"]])
def test_only_the_tasks_that_gave_logits_are_scored(answered, kept):
    split, logits, labels = answered
    some = score_logits({t: logits[t] for t in kept}, labels, split, TINY, {})
    everything = score_logits(logits, labels, split, TINY, {})
    assert some == {t: everything[t] for t in kept}


def test_a_hidden_label_is_no_mistake_of_the_model_but_refused(answered):
    split, logits, labels = answered
    hidden = {**labels["ar"], "noun": torch.full((30, 1), -1)}
    with pytest.raises(ValueError, match="ar: only samples with labels"):
        score_logits(logits, {**labels, "ar": hidden}, split, TINY, {})


def test_the_four_tasks_have_their_metrics(answered):
    split, logits, labels = answered
    figures = score_logits(logits, labels, split, TINY, {})
    assert set(figures["ar"]) == {"verb_top1", "verb_class_mean", "verb_ece", "noun_top1",
                                  "noun_class_mean", "noun_ece", "samples"}  # fmt: skip
    assert set(figures["oscc"]) == {"accuracy", "class_mean", "ece", "samples"}
    assert set(figures["pnr"]) == {"error_s", "samples"}
    assert set(figures["lta"]) == {
        f"{who}_{what}" for who in ("verb", "noun", "action") for what in ("ed", "aued")
    } | {"samples"}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (TOOL, {"accuracy", "top5", "class_mean", "ece", "samples"}),
        (NEXT, {"tool_ed", "tool_aued", "samples"}),
        (SPOT, {"error_s", "samples"}),
    ],
)
def test_a_task_that_a_user_adds_is_measured_by_its_readout(spec, expected):
    samples = {spec.name: make_samples(spec, 15, num_labels=SPACES)}
    logits = {spec.name: random_logits(samples[spec.name], SPACES)}
    labels = {spec.name: samples[spec.name].labels}
    figures = score_logits(logits, labels, samples, TINY, {})[spec.name]
    assert set(figures) == expected
    assert all(np.isfinite(v) for v in figures.values())
    for answer in baselines(samples, samples).values():
        assert set(answer[spec.name]) <= expected


def test_the_order_of_samples_moves_their_values_and_no_figure():
    split = make_split(30)
    models = make_skills().task_models()
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    for task in split:  # LTA's too: a sample's draws are seeded by its name
        model, one = {task: models[task]}, {task: split[task]}
        other = {task: split[task].take(order)}
        first = per_sample(*collect_logits(model, one, TINY), one, TINY)[task]
        second = per_sample(*collect_logits(model, other, TINY), other, TINY)[task]
        for name, values in first.items():
            np.testing.assert_allclose(second[name], values[order.numpy()], atol=1e-6)


def test_a_temperature_changes_probabilities_and_no_decision(answered):
    split, logits, labels = answered
    cold = score_logits(logits, labels, split, TINY, {})
    warm = score_logits(logits, labels, split, TINY, {"ar.verb": 9.0, "oscc.state": 9.0})
    assert warm["ar"]["verb_ece"] != cold["ar"]["verb_ece"]
    for name in ("verb_top1", "verb_class_mean", "noun_ece"):
        assert warm["ar"][name] == cold["ar"][name]


def test_futures_are_drawn_at_the_models_temperature_whatever_is_fitted(answered):
    split, logits, labels = answered
    fitted = {"lta.verb": 9.0, "lta.noun": 0.2}
    plain = score_logits(logits, labels, split, TINY, {})["lta"]
    assert score_logits(logits, labels, split, TINY, fitted)["lta"] == plain
    colder = replace(TINY, future_temperature=0.01)
    assert score_logits(logits, labels, split, colder, {})["lta"] != plain


def test_the_seed_moves_the_sampled_futures_alone(answered):
    split, logits, labels = answered
    a, b = (score_logits(logits, labels, split, TINY, {}, seed=seed) for seed in (0, 100))
    assert a["lta"] != b["lta"]
    assert {t: m for t, m in a.items() if t != "lta"} == {t: m for t, m in b.items() if t != "lta"}
