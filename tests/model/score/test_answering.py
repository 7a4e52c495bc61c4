import json
from dataclasses import replace

import pytest
import torch

from extract.features.track import EncoderId
from model.errors import FeatureMismatch, ScoringRefused, UnknownTask
from model.predict.futures import seed_of
from model.score.answering import ChallengeAnswerer
from model.score.test_set import ChallengeItem
from model.tasks import LTA
from tests.support.factories import make_bundle, make_track, with_forecaster

TRACK = make_track(3000, encoder=EncoderId("tiny", ""))


@pytest.fixture(scope="module")
def bundle():
    return make_bundle()


def windows(count=6):
    bounds = tuple((100 * i, 100 * i + 240) for i in range(20))
    return [ChallengeItem(f"c_{i}", "clip", bounds[: i + 1]) for i in range(count)]


def changes(count=20):
    return [ChallengeItem(f"s{i}", "clip", ((90 * i, 90 * i + 150 + i),)) for i in range(count)]


QUESTIONS = {"lta": windows(), "oscc": changes(), "pnr": changes()}


@pytest.mark.parametrize("task", list(QUESTIONS))
@pytest.mark.parametrize("batch_size", [1, 7])
def test_an_answer_does_not_depend_on_its_batch(bundle, task, batch_size):
    together = ChallengeAnswerer(bundle).answer(task, QUESTIONS[task], TRACK)
    apart = ChallengeAnswerer(bundle, batch_size=batch_size).answer(
        task, QUESTIONS[task][::-1], TRACK
    )
    assert apart == together
    assert len({json.dumps(a) for a in together.values()}) > 1


def test_a_draw_depends_on_seed_and_id_alone(bundle):
    one, two = windows()[2:4]
    renamed = replace(one, id="another")
    answers = ChallengeAnswerer(bundle).answer("lta", [one, two, renamed], TRACK)
    assert answers[one.id] != answers["another"]
    assert ChallengeAnswerer(bundle).answer("lta", [one], TRACK)[one.id] == answers[one.id]
    assert ChallengeAnswerer(bundle, seed=1).answer("lta", [one], TRACK)[one.id] != answers[one.id]


def test_seeds_differ_and_fit_a_generator():
    seeds = {seed_of(s, f"c_{i}") for s in range(3) for i in range(1000)}
    assert len(seeds) == 3000
    assert all(0 <= seed < 2**63 for seed in seeds)
    torch.Generator().manual_seed(max(seeds))


def test_a_window_with_too_little_behind_it_repeats_its_first_action(bundle):
    four = replace(LTA, num_segments=4, num_nodes=24)
    short = windows(2)[1]
    first, last = short.segments
    padded = replace(short, segments=(first, first, first, last))
    nodes = [ChallengeAnswerer(bundle)._nodes(four, [q], TRACK) for q in (short, padded)]
    assert nodes[0].shape[1] == 4
    assert torch.equal(*nodes)


@pytest.mark.slow
def test_only_the_last_actions_are_observed(bundle):
    long = windows(6)[5]
    short = replace(long, segments=long.segments[-2:])
    other = replace(long, segments=long.segments[-1:])
    answers = [ChallengeAnswerer(bundle).answer("lta", [q], TRACK) for q in (long, short, other)]
    assert answers[0] == answers[1]
    assert answers[0] != answers[2]


def test_prototypes_are_searched_in_the_precision_of_the_answers(bundle):
    queries = torch.randn(5, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for backpack in ChallengeAnswerer(bundle)._skills.backpacks.values():
        for task, prototypes in backpack.prototypes.items():
            cosine = torch.cosine_similarity(queries.unsqueeze(1), prototypes, dim=2)
            expected = cosine.topk(3)
            rows, similarity = backpack.index(task).search(queries, 3)
            assert torch.equal(rows, expected.indices)
            torch.testing.assert_close(similarity, expected.values, atol=1e-14, rtol=0)


def test_features_of_another_encoder_are_refused(bundle):
    responder = ChallengeAnswerer(bundle)
    other = make_track(300, encoder=EncoderId("fake", "f" * 64))
    with pytest.raises(FeatureMismatch, match="come from fake ffffffffffff"):
        responder.answer("oscc", changes(1), other)
    with pytest.raises(FeatureMismatch, match="have 7 numbers, this bundle's model takes 6"):
        responder.answer("oscc", changes(1), make_track(300, width=7))


def test_a_task_without_a_skill_is_refused(bundle):
    skills = {task: t for task, t in bundle.skills.items() if task != "pnr"}
    facts = {task: f for task, f in bundle.manifest.skills.items() if task != "pnr"}
    partial = replace(bundle, skills=skills, manifest=replace(bundle.manifest, skills=facts))
    with pytest.raises(UnknownTask, match="pnr"):
        ChallengeAnswerer(partial).check_tasks(["oscc", "pnr"])


def test_label_ids_must_mean_the_same_in_bundle_and_annotations(bundle):
    responder = ChallengeAnswerer(bundle)
    names = bundle.manifest.label_spaces
    responder.check_labels(names)
    responder.check_labels(names | {"verb": [*names["verb"], "one more"]})
    swapped = [names["noun"][1], names["noun"][0], *names["noun"][2:]]
    with pytest.raises(ScoringRefused, match="noun 0 is 'noun0' in the bundle and 'noun1'"):
        responder.check_labels(names | {"noun": swapped})
    with pytest.raises(ScoringRefused, match="verb 4 is 'verb4' in the bundle and nothing"):
        responder.check_labels(names | {"verb": names["verb"][:-1]})


@pytest.mark.parametrize("batch_size", [1, 7])
def test_a_forecaster_answers_from_the_whole_clip_alike_in_every_order(bundle, batch_size):
    """Windows of two clips, one a stretch of the same segments, the other its own."""
    other = [
        replace(item, id=f"d_{i}", segments=tuple((a + 31, b + 31) for a, b in item.segments))
        for i, item in enumerate(windows(4))
    ]
    items = [*windows(12), *other]
    ours = with_forecaster(bundle, future_choice="set", future_samples=9)
    together = ChallengeAnswerer(ours).answer("lta", items, TRACK)
    some = ChallengeAnswerer(ours, batch_size=batch_size).answer("lta", items[5::-2], TRACK)
    assert some == {name: together[name] for name in some}
    pairs = {tuple(pair) for pair in ours.forecaster["pairs"].tolist()}
    steps = {
        pair
        for found in together.values()
        for verbs, nouns in zip(found["verb"], found["noun"], strict=True)
        for pair in zip(verbs, nouns, strict=True)
    }
    assert steps <= pairs
    first = items[8]
    moved = replace(first, segments=((40, 300), *first.segments[1:]))  # the clip's first action
    assert ChallengeAnswerer(ours).answer("lta", [moved], TRACK)[first.id] != together[first.id]
