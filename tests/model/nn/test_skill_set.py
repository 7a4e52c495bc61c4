from dataclasses import replace

import pytest
import torch

from model.nn.pooling import select_nodes
from model.nn.skill import OWN, Skill
from model.nn.skill_set import Backbone, SkillSet
from model.tasks import AR, TASKS
from tests.factories import NUM_LABELS, TINY, make_backpack, make_inputs, make_skills


def test_all_tasks_take_exactly_one_backbone_pass():
    skills = make_skills()
    skills(make_inputs(graphs=4))
    assert skills.backbone_passes == 1


def test_two_backbones_take_two_passes_and_each_skill_uses_its_own():
    one, two = make_skills(seed=2), make_skills(seed=5)
    backbones = {
        "a": Backbone(one.models["shared"], one.backpacks["shared"]),
        "b": Backbone(two.models["shared"], two.backpacks["shared"]),
    }
    mixed = SkillSet(
        backbones,
        {t: (s, "b" if t == "lta" else "a") for t, s in one.skills.items()},
    ).eval()
    inputs = make_inputs()
    fused = {t: v.fused() for t, v in mixed(inputs).items()}
    assert mixed.backbone_passes == 2
    alone = one(inputs)
    torch.testing.assert_close(fused["ar"]["verb"], alone["ar"].fused()["verb"])
    assert not torch.allclose(fused["lta"]["verb"], alone["lta"].fused()["verb"])


def test_answers_have_the_shapes_of_the_task_table():
    fused = {t: v.fused() for t, v in make_skills()(make_inputs(graphs=3)).items()}
    assert fused["ar"]["verb"].shape == (3, 1, 5)
    assert fused["lta"]["noun"].shape == (3, 20, 4)
    assert fused["oscc"]["state"].shape == (3, 1, 2)
    assert fused["pnr"]["keyframe"].shape == (3, 16, 1)


@pytest.mark.parametrize("task", list(TASKS))
def test_a_graph_is_answered_the_same_alone_and_in_a_batch_of_strangers(task):
    skills = make_skills()
    inputs = make_inputs(graphs=6)
    together = skills(inputs)[task].fused()
    for graph in range(6):
        alone = skills({task: inputs[task][graph : graph + 1]})[task].fused()
        for name, logits in together.items():
            torch.testing.assert_close(logits[graph : graph + 1], alone[name], atol=1e-5, rtol=1e-5)


def test_the_authors_batch_norm_is_why_that_holds():
    skills = make_skills(replace(TINY, norm="batch"))
    inputs = make_inputs(graphs=6)["ar"]
    together = skills({"ar": inputs})["ar"].fused()["verb"][:1]
    alone = skills({"ar": inputs[:1]})["ar"].fused()["verb"]
    assert not torch.allclose(together, alone, atol=1e-5, rtol=1e-5)


def test_the_answer_is_the_sum_of_all_votes():
    votes = make_skills()(make_inputs())["ar"]
    assert set(votes.logits["verb"]) == {OWN, "lta", "oscc", "pnr"}
    torch.testing.assert_close(
        votes.fused()["verb"], sum(votes.logits["verb"].values()), atol=1e-6, rtol=1e-6
    )


def test_known_heads_and_prototypes_stay_and_the_skill_learns():
    skills = make_skills()
    model, backpack = skills.models["shared"], skills.backpacks["shared"]
    for parameter in [*model.backbone.parameters(), *skills.skills["ar"].parameters()]:
        parameter.requires_grad_(True)
    features = model.features({"ar": make_inputs()["ar"]})["ar"]
    votes = skills.skills["ar"](features, model.heads, backpack)
    sum(v.square().sum() for v in votes.fused().values()).backward()
    assert all(p.grad is None for p in model.heads.parameters())
    assert all(p.grad is not None for p in model.backbone.parameters())  # own head's path
    assert all(p.grad is not None for p in skills.skills["ar"].parameters())
    assert all(not p.requires_grad for p in backpack.prototypes.values())


@pytest.mark.parametrize("known", [["ar"], ["ar", "oscc"]])
def test_a_novel_task_cannot_listen_to_itself(known):
    with pytest.raises(ValueError, match="own perspective"):
        Skill(TINY, AR, known, NUM_LABELS)


def test_without_perspectives_a_skill_is_its_own_head_and_needs_no_backpack():
    skill = Skill(TINY, AR, [], NUM_LABELS).eval()
    model = make_skills().models["shared"]
    features = model.features({"ar": make_inputs()["ar"]})["ar"]
    votes = skill(features, model.heads, None)
    assert {who for by in votes.logits.values() for who in by} == {"own"}
    own = skill.classifier(skill.head(select_nodes(AR, features)))
    for name, logits in votes.fused().items():
        assert torch.equal(logits, own[name])


def test_one_known_task_is_enough():
    skill = Skill(TINY, AR, ["oscc"], NUM_LABELS).eval()
    model = make_skills().models["shared"]
    features = model.features({"ar": make_inputs()["ar"]})["ar"]
    assert set(skill(features, model.heads, make_backpack(["oscc"])).rows) == {"oscc"}
