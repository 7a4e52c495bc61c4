from dataclasses import replace

import pytest
import torch

from model.tasks import TASKS
from model.train.ledger import Ledger
from model.train.methods.trainer import LABELS, Trainer, Training, needs_of, parts_of
from model.train.pipeline import TrainingPipeline, plan
from tests.model.support.small_training import LEARNING, TRAIN, logits_of
from tests.support.factories import NUM_LABELS


@pytest.mark.slow
@pytest.mark.parametrize("method", LABELS)
def test_training_again_with_the_same_seed_gives_the_same_tensors(bench, method):
    part = parts_of(method)[-1]
    below = {need: bench.tensors(need) for need in needs_of(part)}
    again = bench.trainer.train(part, below)
    other = replace(bench.trainer, seed=1).train(part, below)
    kept = bench.tensors(part)
    assert kept.keys() == again.keys()
    assert all(torch.equal(kept[name], again[name]) for name in kept)
    assert any(not torch.equal(kept[name], other[name]) for name in kept)


def test_a_novel_task_is_never_known_to_the_model_it_stands_on():
    for method in ("mtl-ft", "mtl-tt", "egopack"):
        for part in parts_of(method):
            for need in plan([part])[:-1]:
                assert part.tasks[0] not in need.tasks
    assert needs_of(Training("egopack-shared", ("ar",)))[0] == Training("mtl", tuple(TASKS))


@pytest.mark.slow
@pytest.mark.parametrize("tasks", [("ar", "oscc"), ("oscc", "pnr"), ("lta", "oscc", "pnr")])
def test_any_number_of_known_tasks_is_enough_with_or_without_recognition(tasks, tmp_path):
    trainer = Trainer(TRAIN, NUM_LABELS, LEARNING, 0, progress=False, tasks=tasks)
    few = TrainingPipeline(trainer, Ledger(tmp_path, {}), "samples")
    for method in ("egopack", "egopack-shared"):
        models = few.models(parts_of(method, tasks))
        assert set(logits_of(models)) == set(tasks)
        for task, learner in models.items():
            assert set(learner.skill.perspectives) == set(tasks) - {task}
