from dataclasses import replace

import pytest
import torch

from model.nn.skill_set import Backbone, SkillSet
from model.tasks import TASKS
from tests.support.factories import TINY, make_inputs, make_skills


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
