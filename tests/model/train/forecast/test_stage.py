"""The stage trains on train, decides on val alone, and ends in the bundle if it wins."""

from dataclasses import replace

import pytest
import torch

from model.config import FitConfig, ForecasterConfig
from model.forecast.load import build_forecaster
from model.train.assemble import assemble, group_skills, score
from model.train.forecast.stage import STAGE, card_section, learn_forecaster
from model.train.ledger import Ledger
from model.train.pipeline import parts_of
from tests.model.support.small_training import LEARNING, prepared

SMALL = replace(
    LEARNING,
    forecaster=ForecasterConfig(embedding_size=4, hidden_size=8),
    forecasting=FitConfig(epochs=2, learning_rate=1e-2, batch_size=4),
)


@pytest.fixture(scope="module")
def skills(bench):
    return group_skills(bench.models(parts_of("mtl")))


def learn(skills, folder, learning=SMALL, tasks=("ar", "lta", "oscc", "pnr")):
    models = {task: model for task, model in skills.task_models().items() if task in tasks}
    ledger = Ledger(folder, {})
    return learn_forecaster(models, prepared(), learning, ledger, "key", seed=0, device="cpu")


def test_none_is_trained_unless_asked_for_and_with_both_tasks(skills, tmp_path):
    assert learn(skills, tmp_path, LEARNING) is None
    assert learn(skills, tmp_path, tasks=("lta", "pnr")) is None
    assert list(tmp_path.iterdir()) == []


def test_it_is_trained_once_and_kept_only_if_its_distances_on_val_are_less(skills, tmp_path):
    learnt = learn(skills, tmp_path)
    val = learnt.facts["val"]
    wins = sum(val[STAGE].values()) < sum(val["graph"].values())
    assert learnt.facts["kept"] is wins
    assert (learnt.kept is None) is not wins
    assert learnt.model.config.temperature == learnt.facts["temperature"]
    written = (tmp_path / f"{STAGE}.safetensors").stat().st_mtime_ns
    again = learn(skills, tmp_path)
    assert (tmp_path / f"{STAGE}.safetensors").stat().st_mtime_ns == written
    assert again.facts == learnt.facts
    for name, value in learnt.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name])


def test_one_that_is_kept_is_in_the_bundle_its_scores_and_its_card(skills, tmp_path):
    learnt = learn(skills, tmp_path)
    data = prepared()
    plain, ours = score(skills, data, SMALL), score(skills, data, SMALL, learnt.model)
    for task in ("ar", "oscc", "pnr"):
        assert ours["metrics"]["val"][task] == plain["metrics"]["val"][task]
    found = ours["metrics"]["val"]["lta"]
    # the decision was made on the same futures
    assert {m: found[m] for m in learnt.facts["val"][STAGE]} == learnt.facts["val"][STAGE]
    facts = {"command": "x", "method": "mtl", "protocol": None, "seed": 0, "threads": 1,
             "seconds": {}, "forecaster": {**learnt.facts, "kept": True}}  # fmt: skip
    bundle = assemble("tiny", skills, data, SMALL, ours, facts, forecaster=learnt.model)
    model = build_forecaster(bundle)
    assert model.config == learnt.model.config
    assert "LTA's steps and futures in this bundle are the forecaster's" in bundle.card
    assert "It is not in this bundle" in card_section({**learnt.facts, "kept": False})
