"""Futures follow the softmax of the logits at one temperature of their own, alone or as a set."""

from dataclasses import replace

import pytest
import torch

from extract.features.track import EncoderId
from model.config import ModelConfig
from model.evaluate.metrics import anticipation_errors
from model.forecast.choice import choose_futures
from model.predict.futures import draw_futures, sample_futures, sample_split, seed_of
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


def in_sets(config=TINY, **more):
    return replace(config, future_choice="set", **more)


def test_old_configs_draw_on_their_own_as_before():
    assert ModelConfig.from_dict({}).future_choice == "independent"
    generator = torch.Generator().manual_seed(7)
    logits = {"verb": torch.randn(20, 6), "noun": torch.randn(20, 9)}
    found = sample_futures(logits, config=TINY, seed=7)
    for name in ("noun", "verb"):
        p = logits[name].double().softmax(dim=1)
        draws = torch.multinomial(p, 5, replacement=True, generator=generator).T
        assert torch.equal(found[name], draws)


def test_a_set_is_chosen_from_as_many_draws_as_the_config_says():
    logits = {"verb": torch.randn(3, 20, 6), "noun": torch.randn(3, 20, 9)}
    for number in (5, 12):
        config = in_sets(future_samples=number)
        found = sample_split(logits, list("abc"), config=config, seed=1)
        drawn = [
            draw_futures({n: v[i] for n, v in logits.items()}, config=config, seed=seed_of(1, name))
            for i, name in enumerate("abc")
        ]
        candidates = {n: torch.stack([d[n] for d in drawn]) for n in logits}
        assert candidates["verb"].shape == (3, number, 20)
        chosen = choose_futures(candidates, 5)
        assert all(torch.equal(found[n], chosen[n]) for n in logits)


def test_the_chosen_set_is_the_same_alone_and_in_a_split():
    logits = {"verb": torch.randn(3, 20, 6), "noun": torch.randn(3, 20, 9)}
    some = sample_split(logits, list("abc"), config=in_sets(), seed=1)
    mine = {n: v[1] for n, v in logits.items()}
    alone = sample_futures(mine, config=in_sets(), seed=seed_of(1, "b"))
    assert all(torch.equal(alone[n], some[n][1]) for n in logits)


def test_sets_come_nearer_to_what_happens_than_draws():
    """The truth is drawn from the model itself, so that only the choice differs."""
    generator = torch.Generator().manual_seed(3)
    logits = {"verb": 2 * torch.randn(150, 20, 8, generator=generator)}
    p = logits["verb"].softmax(dim=2).flatten(0, 1)
    truth = {"verb": torch.multinomial(p, 1, generator=generator).view(150, 20)}
    names = [f"c_{i}" for i in range(150)]
    found = {
        choice: anticipation_errors(
            sample_split(logits, names, config=replace(TINY, future_choice=choice), seed=0), truth
        )["verb_ed"].mean()
        for choice in ("independent", "set")
    }
    assert found["set"] < found["independent"]


@pytest.mark.parametrize("wrong", [{"future_choice": "best"}, {"future_samples": 4}])
def test_a_choice_that_no_model_can_make_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        replace(TINY, **wrong)


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


@pytest.mark.slow(2)
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
