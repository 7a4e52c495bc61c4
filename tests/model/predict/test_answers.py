from dataclasses import replace

import pytest
import torch

from model.nodes import nodes_on
from model.predict.predictor import Predictor
from model.tasks import OSCC
from tests.model.predict.requests import request
from tests.support.factories import TINY, make_bundle


def test_ranked_lists_are_sorted_probabilities(predictor):
    answer = predictor.predict([request(predictor, top_k=5)])[0].segments[0]
    probabilities = [r.probability for r in answer.ar.verb]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)  # all five verbs are listed
    assert sum(answer.pnr.scores) == pytest.approx(1, abs=1e-5)
    assert answer.pnr.probability == max(answer.pnr.scores)
    node = answer.pnr.scores.index(max(answer.pnr.scores))
    assert answer.pnr.time_s == pytest.approx(node * 0.5)


def test_temperature_flattens_and_keeps_the_order():
    hot, cold = make_bundle(), make_bundle()
    cold.manifest.calibration.clear()
    ours, theirs = Predictor(hot, search="torch"), Predictor(cold, search="torch")
    a = ours.predict([request(ours)])[0].segments[0].ar.verb
    b = theirs.predict([request(theirs)])[0].segments[0].ar.verb
    assert [r.id for r in a] == [r.id for r in b]
    assert a[0].probability < b[0].probability


def test_evidence_names_prototypes_and_votes_of_every_perspective(predictor):
    answer = predictor.predict([request(predictor, top_k=3)])[0]
    evidence = answer.segments[0].evidence
    assert set(evidence.neighbours) == {"ar", "oscc", "pnr"}
    assert set(evidence.neighbours["ar"]) == {"lta", "oscc", "pnr"}
    closest = evidence.neighbours["ar"]["lta"]
    assert len(closest) == 3
    assert [n.similarity for n in closest] == sorted((n.similarity for n in closest), reverse=True)
    assert set(evidence.votes) == {"ar.verb", "ar.noun", "oscc.state", "pnr.keyframe"}
    assert set(evidence.votes["ar.verb"]) == {"own", "lta", "oscc", "pnr"}
    assert set(answer.lta.evidence.votes) == {"lta.verb", "lta.noun"}


@pytest.mark.parametrize("how", ["sum", "mean"])
def test_votes_are_joined_in_serving_as_in_evaluation(how):
    """The authors average OSCC's votes, and the temperature is fitted to the average."""
    width = make_bundle().manifest.model["input_size"]
    predictor = Predictor(make_bundle(replace(TINY, graph_fusion=how, input_size=width)))
    asked = request(predictor)
    nodes = nodes_on(asked.track, [(0.0, 8.0)], OSCC, predictor.config)
    with torch.inference_mode():
        logits = predictor.skills.task_models()["oscc"](nodes)["state"][0, 0]
    found = predictor.predict([asked])[0].segments[0].oscc.probability
    assert found == pytest.approx(logits.softmax(dim=0)[1].item(), abs=1e-6)
