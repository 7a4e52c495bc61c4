from dataclasses import replace

import numpy as np
import pytest
import torch

from model.score.prior import Prior
from model.score.test_set import ChallengeItem
from tests.support.factories import NUM_LABELS, make_bundle


@pytest.fixture(scope="module")
def bundle():
    return make_bundle()


def question(number=0):
    return ChallengeItem(f"c_{number}", "gone", ((0, 100), (300, 541)))


def test_a_prior_draws_pairs_as_training_saw_them(bundle):
    """Pair (v, n) with a count of 1 to 7 in the bundle's backpack; no other is drawn."""
    counts = {
        (int(v), int(n)): int(c)
        for v, n, c in zip(
            *(bundle.backpack[f"shared/{part}"] for part in ("verb_id", "noun_id", "count")),
            strict=True,
        )
    }
    answers = Prior(bundle).answers("lta", [question(i) for i in range(200)]).values()
    drawn = [
        pair
        for answer in answers
        for steps in zip(answer["verb"], answer["noun"], strict=True)
        for pair in zip(*steps, strict=True)
    ]
    assert len(drawn) == 200 * 5 * 20
    shares = {pair: drawn.count(pair) / len(drawn) for pair in set(drawn)}
    assert set(shares) <= set(counts)
    for pair, count in counts.items():
        assert shares[pair] == pytest.approx(count / sum(counts.values()), abs=0.02)
    again, other = Prior(bundle), Prior(bundle, seed=1)
    assert again.answers("lta", [question(3)])["c_3"] == list(answers)[3]
    assert other.answers("lta", [question(3)])["c_3"] != list(answers)[3]


def test_a_prior_without_counts_is_uniform_over_the_labels(bundle):
    unknown = {**bundle.backpack, "shared/verb_id": torch.full((7,), -1)}
    for backpack in ({}, unknown):
        prior = Prior(replace(bundle, backpack=backpack))
        assert prior.source("lta") == "uniform"
        answers = prior.answers("lta", [question(i) for i in range(50)]).values()
        for space in ("verb", "noun"):
            ids = np.array([answer[space] for answer in answers])
            assert ids.shape == (50, 5, 20)
            shares = np.bincount(ids.ravel(), minlength=NUM_LABELS[space]) / ids.size
            assert shares == pytest.approx(1 / NUM_LABELS[space], abs=0.03)


@pytest.mark.parametrize(("positives", "changed"), [(60, True), (40, False), (None, False)])
def test_a_prior_takes_the_more_frequent_state_and_the_middle(bundle, positives, changed):
    samples = {"train": {"oscc": 100, **({"pnr": positives} if positives else {})}}
    manifest = replace(bundle.manifest, training={"samples": samples})
    prior = Prior(replace(bundle, manifest=manifest))
    assert prior.answers("oscc", [question()]) == {"c_0": changed}
    assert prior.answers("pnr", [question()]) == {"c_0": 120.5}
    assert prior.source("oscc") == ("majority of training" if positives else "no change")
