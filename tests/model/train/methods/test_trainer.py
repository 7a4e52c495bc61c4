from dataclasses import replace

import pytest
import torch

from model.nn.skill import OWN
from model.nn.skill_set import build_skills
from model.tasks import TASKS
from model.train.assemble import assemble, group_skills, score
from model.train.methods.stages import SkillOnBackbone
from model.train.methods.trainer import LABELS, Training, fit_of, needs_of, parts_of
from model.train.pipeline import TrainingPipeline
from model.train.presets import EGO4D
from tests.model.support.small_training import LEARNING, VAL, flat, logits_of, prepared
from tests.support.factories import NUM_LABELS, TINY
from weights.bundle import load_bundle, save_bundle


@pytest.mark.slow
@pytest.mark.parametrize("method", LABELS)
def test_every_method_answers_every_task_and_is_the_same_from_disk(bench, method):
    again = TrainingPipeline(bench.trainer, bench.ledger, "samples")
    first, second = (flat(logits_of(b.models(parts_of(method)))) for b in (bench, again))
    assert set(first) == {
        "ar.verb",
        "ar.noun",
        "lta.verb",
        "lta.noun",
        "oscc.state",
        "pnr.keyframe",
    }
    assert first["lta.verb"].shape[1:] == (20, NUM_LABELS["verb"])
    assert first["oscc.state"].shape[1:] == (1, 2)
    assert first["pnr.keyframe"].shape[1:] == (16, 1)
    for name, values in first.items():
        assert torch.isfinite(values).all()
        assert torch.equal(values, second[name]), name


@pytest.mark.parametrize("task", TASKS)
def test_the_papers_protocol_moves_the_backbone_but_for_anticipation(bench, task):
    part = Training("egopack", (task,))
    below = bench.tensors(needs_of(part)[0])
    learner = bench.models([part])[task]
    model = dict(learner.backbone.model.state_dict())
    moved = {name for name in below if not torch.equal(below[name], model[name])}
    if task == "lta":
        assert moved == set()
        assert learner.backbone.tuned_from is None
    else:
        assert moved
        assert all(name.startswith("backbone.") for name in moved)  # known heads stay
        assert learner.backbone.tuned_from is not None


def tuning(bench, **change):
    """The bench with skills that are learnt otherwise."""
    skills = {task: replace(fit, **change) for task, fit in LEARNING.skills.items()}
    trainer = replace(bench.trainer, learning=replace(LEARNING, skills=skills))
    return TrainingPipeline(trainer, bench.ledger, "samples")


@pytest.mark.slow
def test_known_heads_learn_only_when_they_are_told_to(bench):
    part = Training("egopack", ("oscc",))
    tensors = tuning(bench, tune_heads=True).tensors(part)
    mtl = bench.tensors(needs_of(part)[0])
    assert not torch.equal(
        tensors["tuned.heads.ar.layers.0.weight"], mtl["heads.ar.layers.0.weight"]
    )
    assert not any(name.startswith("tuned.heads") for name in bench.tensors(part))


@pytest.mark.slow
@pytest.mark.parametrize("tune_backbone", [True, False])
def test_tuned_heads_come_back_from_disk_and_from_a_bundle(bench, tmp_path, tune_backbone):
    heads = tuning(bench, tune_heads=True, tune_backbone=tune_backbone)
    models = heads.models(parts_of("egopack"))
    again = tuning(bench, tune_heads=True, tune_backbone=tune_backbone)
    before, after = flat(logits_of(models)), flat(logits_of(again.models(parts_of("egopack"))))
    assert all(torch.equal(before[name], after[name]) for name in before)
    mtl = bench.tensors(needs_of(Training("egopack", ("ar",)))[0])
    held = models["ar"].backbone.model.state_dict()
    moved = {name for name in mtl if not torch.equal(mtl[name], held[name])}
    assert any(name.startswith("heads.") for name in moved)
    assert any(name.startswith("backbone.") for name in moved) == tune_backbone
    assert len({id(m.backbone.model) for m in models.values()}) == 4

    skills, data = group_skills(models), prepared()
    facts = {"command": "x", "method": "x", "protocol": "x", "seed": 0, "threads": 1, "seconds": {}}
    bundle = assemble("b", skills, data, LEARNING, score(skills, data, LEARNING), facts)
    rebuilt = build_skills(load_bundle(save_bundle(bundle, tmp_path / "b") and tmp_path / "b"))
    for name, values in flat(logits_of(rebuilt.task_models())).items():
        torch.testing.assert_close(values, before[name])


@pytest.mark.slow
@pytest.mark.parametrize("heads", [True, False])
def test_the_backbone_hears_through_heads_that_learn_and_only_through_them(bench, heads):
    part = Training("egopack", ("oscc",))
    found = tuning(bench, tune_heads=heads).models([part])["oscc"]
    backbone = found.backbone
    tuned = {"backbone": backbone.model.backbone}
    if heads:
        tuned["heads"] = backbone.model.heads
    learner = SkillOnBackbone(found.skill, backbone, tuned=tuned).requires_grad_(True)
    for layer in learner.skill.classifier.outputs.values():
        torch.nn.init.zeros_(layer.weight)  # its own head says nothing to the backbone
    inputs = VAL["oscc"].draw(torch.arange(4), TINY).inputs
    learner(inputs)["state"].square().sum().backward()
    reached = {
        n for n, p in learner.tuned.named_parameters() if p.grad is not None and p.grad.any()
    }
    assert any(name.startswith("backbone.") for name in reached) == heads
    assert any(name.startswith("heads.") for name in reached) == heads


def test_a_shared_backbone_stays_as_it_is_whatever_skills_may_move(bench):
    moving = tuning(bench, tune_heads=True, tune_backbone=True)
    parts = parts_of("egopack-shared")
    found, expected = (flat(logits_of(b.models(parts))) for b in (moving, bench))
    assert all(torch.equal(found[name], values) for name, values in expected.items())


def test_translations_to_oscc_learn_at_a_rate_of_their_own():
    for learning in EGO4D.values():
        rates = {t: fit_of(Training("tt", (t,)), learning).learning_rate for t in TASKS}
        assert rates == {"ar": 1e-4, "lta": 1e-4, "oscc": 1e-6, "pnr": 1e-4}


def test_an_ablation_changes_the_skill_and_nothing_under_it(bench):
    plain = Training("egopack", ("pnr",))
    other = Training("egopack", ("pnr",), (("interaction_layers", 1),))
    assert needs_of(plain) == needs_of(other)
    assert bench.key(plain) != bench.key(other)
    layers = [bench.models([p])["pnr"].skill.interactions["ar"].layers for p in (plain, other)]
    assert [len(found) for found in layers] == [TINY.interaction_layers, 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [("fusion", "mean"), ("fusion", "features"), ("distance", "l2"), ("num_neighbours", 1)],
)
def test_variants_learn_and_answer(bench, change):
    part = Training("egopack", ("pnr",), (change,))
    learner = bench.models([part])["pnr"]
    logits = logits_of({"pnr": learner})["pnr"]["keyframe"]
    plain = logits_of(bench.models([Training("egopack", ("pnr",))]))["pnr"]["keyframe"]
    assert torch.isfinite(logits).all()
    assert not torch.allclose(logits, plain)


def test_averaged_votes_are_a_quarter_of_their_sum(bench):
    model = bench.models([Training("egopack", ("ar",))])["ar"]
    inputs = VAL["ar"].draw(torch.arange(3), TINY).inputs
    summed = model(inputs)["verb"]
    model.skill.fusion = "mean"
    torch.testing.assert_close(model(inputs)["verb"] * 4, summed)
    model.skill.fusion = "sum"


def test_one_backbone_passes_once_for_all_skills_and_four_pass_four_times(bench):
    inputs = {t: VAL[t].draw(torch.arange(2), TINY).inputs for t in TASKS}
    for method, passes in (("egopack-shared", 1), ("egopack", 4)):
        skills = group_skills(bench.models(parts_of(method)))
        before = skills.backbone_passes
        votes = skills(inputs)
        assert skills.backbone_passes - before == passes
        assert set(votes["ar"].logits["verb"]) == {OWN, "lta", "oscc", "pnr"}


def test_the_mlp_judges_every_keyframe_node_by_itself(bench):
    model = bench.models([Training("mlp", ("pnr",))])["pnr"]
    assert isinstance(model, SkillOnBackbone)
    inputs = VAL["pnr"].draw(torch.arange(1), TINY).inputs
    changed = inputs.clone()
    changed[:, 3] += 1
    apart = (model(inputs)["keyframe"] - model(changed)["keyframe"]).abs()[0, :, 0] > 1e-6
    assert apart.nonzero().flatten().tolist() == [3]
