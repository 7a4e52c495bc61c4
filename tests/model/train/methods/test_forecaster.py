"""The forecaster learns to copy, sees a noisy past and true steps after it, and resumes."""

from dataclasses import replace

import pytest
import torch

from model.config import FORECASTING, ForecasterConfig
from model.data.sequences import ActionSequences
from model.forecast.baselines import PairCounts
from model.forecast.load import at_temperature
from model.forecast.sampling import PastActions, one_hot
from model.train.fit import FitJob
from model.train.methods.forecaster import (
    LONGEST,
    Donors,
    _crop,
    next_action_losses,
    train_forecaster,
)

NUM = {"verb": 8, "noun": 3}
FIT = replace(FORECASTING, epochs=8, learning_rate=1e-2, batch_size=8)


def cycles(num, seed, length=24):
    """Clips that go through four actions of their own again and again."""
    generator = torch.Generator().manual_seed(seed)
    clips = []
    for _ in range(num):
        verb = torch.randperm(8, generator=generator)[:4]
        own = torch.stack([verb, torch.randint(0, 3, (4,), generator=generator)], dim=1)
        clips.append(own.repeat(length // 4, 1))
    return ActionSequences.join(clips)


def losses_on(model, sequences):
    ids = torch.stack(sequences.clips())
    counts = PairCounts(sequences)
    target = (ids[:, 1:].unsqueeze(2) == model.pairs).all(-1).int().argmax(-1)
    assert len(counts.pairs) <= len(model.pairs)
    verb, noun = one_hot(ids[..., 0], 8), one_hot(ids[..., 1], 3)
    return next_action_losses(model, verb, noun, target).view(len(ids), -1)


@pytest.mark.slow
def test_it_learns_to_return_to_what_was_done():
    train, fresh = cycles(30, seed=0), cycles(10, seed=1)
    job = FitJob(FIT, seed=0, progress=False)
    model = train_forecaster(train, NUM, ForecasterConfig(16, 16, 0.0), job).eval()
    losses = losses_on(model, fresh)
    again, first = losses[:, 8:].mean(), losses[:, :3].mean()
    assert again < 1.5  # the third time round
    assert first > again + 1.5
    colder = at_temperature(model, 0.5)
    assert (colder.config.temperature, model.config.temperature) == (0.5, 1.0)
    assert colder.gru is model.gru


def test_a_run_that_was_cut_short_ends_like_an_unbroken_one(tmp_path):
    train, config = cycles(10, seed=0), ForecasterConfig(4, 8)
    job = FitJob(replace(FIT, epochs=2), seed=0, progress=False)
    whole = train_forecaster(train, NUM, config, job)
    file = tmp_path / "checkpoint"
    train_forecaster(train, NUM, config, replace(job, checkpoint=file))
    state = torch.load(file, weights_only=True)
    assert state["epoch"] == 2
    again = train_forecaster(train, NUM, config, replace(job, checkpoint=file))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


def test_donors_have_the_labels_of_the_actions_they_stand_for():
    ids = torch.tensor([[0, 0], [0, 0], [1, 2], [5, 1], [-1, 2]])
    marks = torch.arange(10).view(5, 2, 1).float()
    past = PastActions(marks.expand(5, 2, 8), 100 + marks.expand(5, 2, 3))
    donors = Donors(past, ids)
    wanted = torch.tensor([[0, 0]] * 50 + [[1, 2], [5, 0], [7, 1], [-1, -1]])
    verb, noun = donors(wanted, torch.Generator().manual_seed(0))
    assert set(verb[:50, 0].tolist()) == {0, 1, 2, 3}
    assert torch.equal(noun[:51, 0], 100 + verb[:51, 0])  # one donor for verb and noun
    assert verb[51, 0] in (6, 7)  # no donor has both: verb and noun apart
    assert noun[51, 0] in (100, 101, 102, 103)
    assert verb[52].tolist() == [0] * 7 + [1]  # none has the verb: the truth
    assert noun[52, 0] in (106, 107)
    assert verb[53].tolist() == [0] * 8


def test_crops_begin_anywhere_and_are_no_longer_than_the_longest():
    clip = torch.arange(300).unsqueeze(1)
    generator = torch.Generator().manual_seed(0)
    crops = [_crop(clip, generator) for _ in range(500)]
    lengths = {len(crop) for crop in crops}
    assert min(lengths) >= 2
    assert max(lengths) == LONGEST
    assert sum(int(crop[0]) == 0 for crop in crops) > 50
    covered = torch.cat(crops).flatten().bincount(minlength=300)
    assert covered[10:-10].min() > 0.6 * covered[10:-10].double().mean()


def test_with_a_recogniser_the_past_is_its_and_the_rest_is_true():
    seen = []

    def recogniser(ids, generator):
        seen.append(len(ids))
        return torch.full((len(ids), 8), 1 / 8), torch.full((len(ids), 3), 1 / 3)

    job = FitJob(replace(FIT, epochs=3), seed=0, progress=False)
    train_forecaster(cycles(10, 0), NUM, ForecasterConfig(4, 8), job, recogniser=recogniser)
    assert min(seen) == 0
    assert max(seen) > 20
