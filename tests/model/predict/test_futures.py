"""Futures follow the softmax of the logits at one temperature of their own, in every command."""

from dataclasses import replace

import pytest
import torch

from extract.features.track import EncoderId
from model.predict.futures import sample_futures, sample_split, seed_of
from model.predict.predictor import Predictor, PredictRequest
from model.score.answering import ChallengeAnswerer
from model.score.test_set import ChallengeItem
from tests.support.factories import TINY, make_bundle, make_track

STEPS = 4000
LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0])


def shares(config, seed=0):
    drawn = sample_futures({"verb": LOGITS.expand(STEPS, 4)}, config=config, seed=seed)["verb"]
    return drawn.flatten().bincount(minlength=4) / drawn.numel()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_have_the_softmax_at_the_configs_temperature(temperature):
    found = shares(replace(TINY, future_temperature=temperature))
    torch.testing.assert_close(found, (LOGITS / temperature).softmax(0), atol=0.02, rtol=0)


def test_one_is_the_default_as_in_the_authors_code():
    assert TINY.future_temperature == 1
    assert torch.equal(shares(TINY), shares(replace(TINY, future_temperature=1.0)))


def test_the_first_hypothesis_may_be_the_most_probable_one():
    greedy = replace(TINY, greedy_first=True)
    first, *others = sample_futures({"verb": LOGITS.expand(50, 4)}, config=greedy, seed=0)["verb"]
    assert first.tolist() == [0] * 50
    assert all(len(set(other.tolist())) > 1 for other in others)


def test_a_samples_draws_hang_on_its_name_and_the_seed_alone():
    logits = {"verb": torch.randn(3, 20, 6, generator=torch.Generator().manual_seed(0))}
    some = sample_split(logits, ["a", "b", "c"], config=TINY, seed=1)["verb"]
    order = [2, 0, 1]
    moved = {"verb": logits["verb"][order]}
    again = sample_split(moved, ["c", "a", "b"], config=TINY, seed=1)["verb"]
    assert torch.equal(again, some[order])
    alone = sample_futures({"verb": logits["verb"][1]}, config=TINY, seed=seed_of(1, "b"))["verb"]
    assert torch.equal(alone, some[1])
    assert not torch.equal(sample_split(logits, list("abc"), config=TINY, seed=2)["verb"], some)


def test_neighbouring_seeds_share_no_draw():
    """With seeds counted up, sample i of seed 1 would draw as sample i + 1 of seed 0."""
    names = [f"c_{i}" for i in range(200)]
    assert not {seed_of(0, n) for n in names} & {seed_of(1, n) for n in names}


@pytest.fixture
def bundles():
    """The same bundle, once with a temperature fitted far from 1."""
    plain, fitted = make_bundle(), make_bundle()
    for output in ("lta.verb", "lta.noun"):
        fitted.manifest.calibration[output] = {
            "temperature": 0.05, "ece_before": 0.2, "ece_after": 0.1,
        }  # fmt: skip
    return plain, fitted


def test_a_fitted_temperature_moves_what_is_shown_and_not_what_is_drawn(bundles):
    answers = []
    for bundle in bundles:
        predictor = Predictor(bundle, search="torch")
        track = make_track(480, encoder=EncoderId("tiny", predictor.encoder.fingerprint))
        answers.append(predictor.predict([PredictRequest(track, frozenset({"lta"}))])[0].lta)
    plain, fitted = answers
    assert fitted.hypotheses == plain.hypotheses
    assert fitted.steps[0].verb[0].probability > plain.steps[0].verb[0].probability + 0.1


def test_a_challenge_file_is_drawn_as_a_split_is_scored(bundles):
    windows = [
        ChallengeItem(f"c_{i}", "clip", ((0, 240), (100 * i, 100 * i + 240))) for i in range(3)
    ]
    track = make_track(3000)
    track = replace(track, encoder=replace(track.encoder, fingerprint=""))
    plain, fitted = (ChallengeAnswerer(b).answer("lta", windows, track) for b in bundles)
    assert plain == fitted
    cold = ChallengeAnswerer(bundles[0], future_temperature=1e-3).answer("lta", windows, track)
    assert cold != plain
    assert all(len(set(map(tuple, answer["verb"]))) == 1 for answer in cold.values())
