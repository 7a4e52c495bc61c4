from dataclasses import replace

import numpy as np
import pytest
import torch

from model.evaluate.scoring import per_sample
from model.tasks import AR, LTA, TASKS
from model.train import fit
from model.train.effects import check_settings
from model.train.methods.trainer import LABELS, parts_of
from model.train.pipeline import plan
from model.train.presets import (
    EGO4D,
    LEAST_STEPS,
    PAPER,
    SMALL,
    TABLETOP,
    for_tasks,
    stretched,
)
from tests.model.support.samples import make_samples as samples_of_task
from tests.support.authors_code import authors_error_s
from weights.authors.convert import CHOICES


def test_their_preset_scores_keyframes_at_thirty_frames_a_second():
    split = {"pnr": samples_of_task(TASKS["pnr"], 40)}
    seconds = split["pnr"].seconds.clone()
    seconds[:, 1] += 0.1  # another rate by the annotation's own clock
    split["pnr"] = replace(split["pnr"], seconds=seconds)
    scores = torch.randn(40, 16, 1, generator=torch.Generator().manual_seed(0))
    found = {
        name: per_sample({"pnr": {"keyframe": scores}}, {"pnr": {}}, split, learning.model)["pnr"]
        for name, learning in EGO4D.items()
    }
    bounds, frame = split["pnr"].segments[:, 0].double(), split["pnr"].pnr_frame
    node = scores[:, :, 0].argmax(dim=1)
    expected = authors_error_s(node, *bounds.unbind(-1), frame).numpy()
    np.testing.assert_allclose(found["authors"]["error_s"], expected, rtol=1e-12)
    assert abs(found["paper"]["error_s"] / expected - 1).min() > 1e-3


def test_their_preset_trains_in_full_precision_on_a_gpu(monkeypatch):
    asked = []
    monkeypatch.setattr(fit.torch, "autocast", lambda kind, **how: asked.append((kind, how)))
    fits = {name: [x.multitask, *x.skills.values(), *x.translation.values()]
            for name, x in EGO4D.items()}  # fmt: skip
    for name, mixed in (("authors", False), ("paper", True)):
        asked.clear()
        for config in fits[name]:
            fit.precision(fit.FitJob(config, 0, device="cuda:0"))
        assert [(kind, how["enabled"]) for kind, how in asked] == [("cuda", mixed)] * 9
        fit.precision(fit.FitJob(fits[name][0], 0, device="cpu"))
        assert asked[-1][1]["enabled"] is False


def test_their_preset_is_the_configuration_their_checkpoints_get():
    theirs = EGO4D["authors"].model.to_dict()
    assert {name: theirs[name] for name in CHOICES} == CHOICES


@pytest.mark.parametrize("learning", [TABLETOP.learning, *EGO4D.values()])
@pytest.mark.parametrize("method", LABELS)
def test_presets_pass(learning, method):
    check_settings([], learning, plan(parts_of(method)))


def test_few_rows_are_gone_through_more_often_and_many_as_they_were():
    few = stretched(SMALL, 535)
    for changed in (few.multitask, *few.skills.values()):
        steps = -(-535 // changed.batch_size)
        assert (changed.epochs - 1) * steps < LEAST_STEPS <= changed.epochs * steps
    assert stretched(SMALL, 50_000) == SMALL


def test_other_tasks_learn_like_ar_and_forecasts_like_lta():
    specs = {"hand": replace(AR, name="hand"), "next-hand": replace(LTA, name="next-hand")}
    found = for_tasks(PAPER, specs)
    assert found.skills == {"hand": PAPER.skills["ar"], "next-hand": PAPER.skills["lta"]}
    assert set(found.translation) == set(specs)
