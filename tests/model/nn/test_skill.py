import pytest
import torch

from model.nn.pooling import select_nodes
from model.nn.skill import OWN, Skill
from model.tasks import AR
from tests.support.factories import NUM_LABELS, TINY, make_backpack, make_inputs, make_skills


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
