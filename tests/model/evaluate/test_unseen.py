from dataclasses import replace

import pytest
import torch

from model.evaluate.unseen import baselines
from model.tasks import IGNORE, OSCC, PNR
from tests.model.support.samples import make_samples, make_split
from tests.model.support.unlabelled import KEPT, NUM, hide, of_output, places


@pytest.mark.parametrize("task", ["ar", "oscc", "pnr"])
def test_baselines_count_the_labels_there_are(split, task):
    train = {task: make_samples(split[task].spec, NUM, seed=7)}
    for output in train[task].spec.outputs:
        few = {task: train[task].take(places(KEPT[output]))}
        hidden = baselines({task: hide(train[task])}, {task: split[task]})
        absent = baselines(few, {task: split[task]})
        for way in ("chance", "frequency"):
            assert of_output(hidden[way][task], output) == of_output(absent[way][task], output)


def test_baselines_of_a_task_that_training_never_labels_are_left_out(split):
    bare = replace(split["oscc"], labels={"state": torch.full((NUM, 1), IGNORE)})
    found = baselines({"ar": split["ar"], "oscc": bare}, {t: split[t] for t in ("ar", "oscc")})
    assert {way: set(tasks) for way, tasks in found.items()} == {
        "chance": {"ar"},
        "frequency": {"ar"},
    }


def test_chance_and_frequency_by_hand():
    train, split = make_samples(OSCC, 4), make_samples(OSCC, 5)
    train = replace(train, labels={"state": torch.tensor([[1], [1], [1], [0]])})
    split = replace(split, labels={"state": torch.tensor([[1], [0], [0], [0], [1]])})
    found = baselines({"oscc": train}, {"oscc": split})
    assert found["chance"]["oscc"]["accuracy"] == 0.5
    assert found["frequency"]["oscc"] == {"accuracy": pytest.approx(0.4), "class_mean": 0.5}


def test_frequency_of_a_keyframe_is_the_mean_position_in_training():
    train, split = make_samples(PNR, 2), make_samples(PNR, 1)
    bounds = torch.tensor([[[0, 160]], [[100, 260]]])
    train = replace(train, segments=bounds, pnr_frame=torch.tensor([40.0, 220.0]).double())
    split = replace(
        split,
        segments=torch.tensor([[[0, 160]]]),
        pnr_frame=torch.tensor([100.0]).double(),
        seconds=torch.tensor([[0.0, 161 / 30]]).double(),
    )
    found = baselines({"pnr": train}, {"pnr": split})
    # positions 0.25 and 0.75: the middle, 80 of 160 frames, at exactly 30 fps
    assert found["frequency"]["pnr"]["error_s"] == pytest.approx(20 / 30)
    assert found["chance"]["pnr"]["error_s"] == pytest.approx(20 / 30)


def test_futures_that_never_looked_come_from_the_actions_where_they_are_known():
    train, split = make_split(40, seed=1), make_split(20, seed=5)
    one_verb = {"verb": torch.full((40, 1), 3), "noun": torch.full((40, 1), 2)}
    known = {**train, "ar": replace(train["ar"], labels=one_verb)}
    told = {"verb": torch.full((20, 20), 3), "noun": torch.full((20, 20), 2)}
    lta = {"lta": replace(split["lta"], labels=told)}
    assert baselines(known, lta)["frequency"]["lta"]["action_ed"] == 0
    del known["ar"]
    assert baselines(known, lta)["frequency"]["lta"]["action_ed"] > 0
