"""With a forecaster LTA looks back on every segment, in the same single pass."""

from dataclasses import asdict

import pytest
import torch

from model.forecast.sampling import sample_past
from model.predict.predictor import Predictor
from tests.model.predict.requests import request
from tests.model.predict.test_predictor import close
from tests.support.factories import make_bundle, with_forecaster

LTA = frozenset({"lta"})


@pytest.fixture(scope="module", params=["independent", "set"])
def predictor(request):
    bundle = with_forecaster(make_bundle(), future_choice=request.param, future_samples=12)
    return Predictor(bundle, search="torch")


def test_it_is_one_pass_and_recognition_is_not_shown_unless_asked_for(predictor):
    before = predictor.backbone_passes
    answer = predictor.predict([request(predictor, 900, tasks=LTA)])[0]
    assert predictor.backbone_passes - before == 1
    assert all(segment.ar is None for segment in answer.segments)
    whole = predictor.predict([request(predictor, 900)])[0]
    assert close(asdict(answer.lta), asdict(whole.lta))


def test_steps_and_futures_are_the_forecasters_after_all_segments(predictor):
    answer = predictor.predict([request(predictor, 900, segment_s=4.0, top_k=5)])[0]
    labels = predictor.manifest.label_spaces
    past = [
        torch.tensor(
            [
                [{r.id: r.probability for r in getattr(s.ar, name)}[i] for i in range(size)]
                for s in answer.segments
            ]
        )
        for name, size in (("verb", 5), ("noun", 4))
    ]
    assert len(past[0]) > 5
    count = predictor.config.future_samples if predictor.config.future_choice == "set" else 5
    found = sample_past(predictor.forecaster, *past, 0, count=count, steps=20)
    for step, lta in enumerate(answer.lta.steps):
        for ranked in (*lta.verb, *lta.noun):
            name = "verb" if ranked in lta.verb else "noun"
            assert ranked.probability == pytest.approx(
                float(found.marginals[name][step, ranked.id]), abs=1e-5
            )
        assert sum(r.probability for r in lta.verb) == pytest.approx(1, abs=1e-5)
    drawn = [
        [(labels["verb"][v], labels["noun"][n]) for v, n in zip(*both, strict=True)]
        for both in zip(*(found.futures[n].tolist() for n in ("verb", "noun")), strict=True)
    ]
    assert all(hypothesis in drawn for hypothesis in answer.lta.hypotheses)


def test_every_step_is_a_pair_of_training(predictor):
    labels = predictor.manifest.label_spaces
    pairs = {(labels["verb"][v], labels["noun"][n]) for v, n in predictor.forecaster.pairs.tolist()}
    answer = predictor.predict([request(predictor, 900)])[0]
    assert len(answer.lta.hypotheses) == 5
    assert {step for future in answer.lta.hypotheses for step in future} <= pairs


def test_a_clip_is_answered_the_same_alone_and_among_others(predictor):
    requests = [
        request(predictor, 240, seed=1, tasks=LTA),
        request(predictor, 900, seed=2, segment_s=5.0),
        request(predictor, 400, seed=3, tasks=frozenset({"pnr"})),
        request(predictor, 600, seed=5, tasks=frozenset({"lta", "oscc"})),
    ]
    together = predictor.predict(requests)
    for one, answer in zip(requests, together, strict=True):
        assert close(asdict(predictor.predict([one])[0]), asdict(answer))
