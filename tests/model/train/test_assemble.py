from dataclasses import replace

import pytest
import torch

from model.nn.skill_set import build_skills
from model.train.assemble import assemble, group_skills, score
from model.train.methods.trainer import SERVABLE, parts_of
from tests.model.support.small_training import LEARNING, flat, logits_of, prepared
from tests.support.factories import make_bundle
from weights.bundle import load_bundle, save_bundle
from weights.errors import BundleError


@pytest.mark.slow
@pytest.mark.parametrize("method", SERVABLE)
def test_a_bundle_answers_as_the_models_it_was_made_of(bench, method, tmp_path):
    models = bench.models(parts_of(method))
    skills = group_skills(models)
    data = prepared()
    facts = {
        "command": "x",
        "method": method,
        "protocol": "x",
        "seed": 0,
        "threads": 1,
        "seconds": {},
    }
    bundle = assemble("b", skills, data, LEARNING, score(skills, data, LEARNING), facts)
    loaded = load_bundle(save_bundle(bundle, tmp_path / "b") and tmp_path / "b")
    rebuilt = build_skills(loaded, search="torch")
    before, after = flat(logits_of(models)), flat(logits_of(rebuilt.task_models()))
    for name, values in before.items():
        torch.testing.assert_close(after[name], values)
    alone = method in ("mtl", "mtl-pcgrad", "egopack-shared")
    assert len(loaded.manifest.backbones) == (1 if alone else 4)
    heard = {len(s["perspectives"]) for s in loaded.manifest.skills.values()}
    assert heard == ({3} if method.startswith("egopack") else {0})


def test_a_bundle_holds_the_graph_of_its_encoder(bench):
    tiny = make_bundle()
    data = replace(prepared(), encoder=tiny.manifest.encoder, encoder_tensors=tiny.encoder)
    skills = group_skills(bench.models(parts_of("mtl")))
    facts = {"command": "x", "method": "x", "protocol": "x", "seed": 0, "threads": 1, "seconds": {}}
    bundle = assemble("b", skills, data, LEARNING, {}, facts)
    assert bundle.encoder_onnx == tiny.encoder_onnx


def test_a_backpack_of_another_model_than_the_one_tuned_is_refused(bench, tmp_path):
    data = prepared()
    skills = group_skills(bench.models(parts_of("egopack")))
    facts = {"command": "x", "method": "x", "protocol": "x", "seed": 0, "threads": 1, "seconds": {}}
    bundle = assemble("b", skills, data, LEARNING, score(skills, data, LEARNING), facts)
    entry = bundle.manifest.backbones["ar"]
    assert entry["backpack_fingerprint"] == entry["tuned_from"] != entry["fingerprint"]
    entry["tuned_from"] = "0" * 64
    with pytest.raises(BundleError, match="made by backbone 000"):
        build_skills(bundle)
