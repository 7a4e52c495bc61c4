import torch

from tests.support.checkpoints import ENTRY, SMALL, TASKS, Shape, make_checkpoint
from tests.weights.authors.refusals import refusal, save
from weights.authors.convert import import_authors


def test_a_learnt_task_listens_to_the_tasks_with_prototypes(tmp_path, labels):
    bundle = import_authors([save(tmp_path, make_checkpoint("lta"))], taxonomy=labels[0])
    assert bundle.manifest.skills["lta"]["perspectives"] == ["ar", "oscc", "pnr"]
    assert [t["name"] for t in bundle.manifest.backbones["lta"]["tasks"]] == ["ar", "oscc", "pnr"]
    assert bundle.encoder == {}


def test_any_number_of_known_tasks_will_do(tmp_path, labels):
    checkpoint = make_checkpoint("lta", known=["pnr"])
    for name in [n for n in checkpoint["task/lta"] if ".ar." in n or ".oscc." in n]:
        del checkpoint["task/lta"][name]
    bundle = import_authors([save(tmp_path, checkpoint)], taxonomy=labels[0])
    assert bundle.manifest.skills["lta"]["perspectives"] == ["pnr"]


def test_a_multitask_model_gives_a_skill_for_every_trained_head(tmp_path, labels):
    checkpoint = make_checkpoint(None)
    checkpoint["task/oscc"]["net.2.weight"] = torch.ones(SMALL.width)
    checkpoint["task/oscc"]["net.2.bias"] = torch.zeros(SMALL.width)
    checkpoint["task/pnr"] = None
    bundle = import_authors([save(tmp_path, checkpoint)], taxonomy=labels[0])
    assert set(bundle.skills) == {"ar", "lta"}
    assert all(facts["perspectives"] == [] for facts in bundle.manifest.skills.values())
    assert bundle.backpack == {}
    assert "task/oscc was never trained" in bundle.manifest.training["notes"][0]


def test_a_backpack_without_prototypes_is_refused(tmp_path, labels):
    checkpoint = make_checkpoint("ar", shape=Shape(prototypes=0))
    assert "embeddings.lta.weight should be of shape" in refusal(tmp_path, labels, checkpoint)


def test_no_or_two_learnt_tasks_are_refused(tmp_path, labels):
    two = make_checkpoint("ar", known=["oscc", "lta"])
    for name in [n for n in two[ENTRY["ar"]] if ".pnr." in n]:
        del two[ENTRY["ar"]][name]
    for name in [n for n in two[ENTRY["pnr"]] if ".ar." in n]:
        del two[ENTRY["pnr"]][name]
    assert "found ['ar', 'pnr']" in refusal(tmp_path, labels, two)
    none = make_checkpoint("ar", known=list(TASKS))
    assert "found none" in refusal(tmp_path, labels, none)


def test_prototypes_of_a_task_without_a_head_are_refused(tmp_path, labels):
    checkpoint = make_checkpoint("ar") | {"task/pnr": None}
    assert "each task with prototypes needs its head" in refusal(tmp_path, labels, checkpoint)


def test_a_skill_must_listen_to_exactly_the_tasks_with_prototypes(tmp_path, labels):
    checkpoint = make_checkpoint("ar")
    for name in [n for n in checkpoint["graphone"] if ".pnr." in n]:
        del checkpoint["graphone"][name]
    detail = refusal(tmp_path, labels, checkpoint)
    assert "prototypes are of ['lta', 'oscc']" in detail
    assert "found none" in detail
