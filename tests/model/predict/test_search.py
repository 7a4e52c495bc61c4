import pytest
import torch

from model.errors import FeatureMismatch, SearchInvalid, SegmentInvalid
from model.nodes import cut_track, nodes_on
from model.predict.predictor import Predictor, PredictRequest
from model.predict.search import SearchQuery
from model.tasks import AR
from tests.support.factories import make_bundle, make_track


@pytest.fixture(scope="module")
def predictor():
    return Predictor(make_bundle())


@pytest.fixture(scope="module")
def backpack(predictor):
    return predictor.skills.backpacks["shared"]


def ask(predictor, track=None, **values):
    track = track or make_track(480, encoder=predictor.encoder)
    return PredictRequest(track, frozenset(), **values)


def action_of(predictor, backpack, row):
    spaces = predictor.manifest.label_spaces
    return tuple(spaces[name][backpack.labels[name][row]] for name in ("verb", "noun"))


def test_a_clips_neighbours_are_those_of_a_loop_over_all_prototypes(predictor, backpack):
    request = ask(predictor, segment_s=4.0)
    cut, found = predictor.search(request, SearchQuery(top_k=3))
    assert cut == [(0.0, 4.0), (4.0, 8.0), (8.0, 12.0), (12.0, 16.0)]
    model = predictor.skills.models["shared"]
    with torch.inference_mode():
        nodes = nodes_on(request.track, cut, AR, predictor.config)
        features = model.features({"ar": nodes}, specs={"ar": AR})["ar"].unflatten(0, (4, 9))
    for index, nearest in enumerate(found.nearest):
        assert set(nearest) == set(backpack.prototypes)
        for task, neighbours in nearest.items():
            view = model.heads[task](features[index, 4])
            cosine = [
                float(torch.nn.functional.cosine_similarity(view, row, dim=0))
                for row in backpack.prototypes[task]
            ]
            order = sorted(range(len(cosine)), key=lambda row: -cosine[row])[:3]
            assert [n.similarity for n in neighbours] == pytest.approx(
                [cosine[row] for row in order], abs=1e-5
            )
            assert [n.count for n in neighbours] == [int(backpack.count[row]) for row in order]
            assert [(n.verb, n.noun) for n in neighbours] == [
                action_of(predictor, backpack, row) for row in order
            ]


def test_an_action_is_its_own_closest_prototype_in_every_perspective(predictor, backpack):
    for row in range(len(backpack.count)):
        verb, noun = action_of(predictor, backpack, row)
        found = predictor.backpacks.of_action(verb, noun, SearchQuery(top_k=2))
        (nearest,) = found.nearest
        for neighbours in nearest.values():
            assert (neighbours[0].verb, neighbours[0].noun) == (verb, noun)
            assert neighbours[0].similarity == pytest.approx(1.0, abs=1e-5)
            assert neighbours[1].similarity <= neighbours[0].similarity


def test_only_the_perspectives_asked_for_are_searched(predictor):
    _, found = predictor.search(ask(predictor), SearchQuery(perspectives=("pnr",)))
    assert all(set(nearest) == {"pnr"} for nearest in found.nearest)


def test_more_prototypes_than_there_are_gives_all_of_them(predictor, backpack):
    _, found = predictor.search(ask(predictor), SearchQuery(top_k=10_000))
    assert all(len(n) == len(backpack.count) for n in found.nearest[0].values())


@pytest.mark.parametrize(
    ("look", "field"),
    [
        (SearchQuery(perspectives=("ar", "dance")), "perspectives/1"),
        (SearchQuery(backbone="x"), "backbone"),
    ],
)
def test_what_is_not_in_the_backpack_is_refused(predictor, look, field):
    with pytest.raises(SearchInvalid) as caught:
        predictor.search(ask(predictor), look)
    assert caught.value.field == field
    with pytest.raises(SearchInvalid):
        predictor.backpacks.of_action("v", "n", look)


def test_an_action_never_seen_is_refused(predictor, backpack):
    spaces = predictor.manifest.label_spaces
    seen = {action_of(predictor, backpack, row) for row in range(len(backpack.count))}
    unseen = [(v, n) for v in spaces["verb"] for n in spaces["noun"] if (v, n) not in seen]
    for verb, noun in [*unseen[:1], ("fly", spaces["noun"][0]), (spaces["verb"][0], "moon")]:
        with pytest.raises(SearchInvalid):
            predictor.backpacks.of_action(verb, noun, SearchQuery())


def test_a_search_looks_at_its_track_first(predictor):
    with pytest.raises(FeatureMismatch):
        predictor.search(ask(predictor, make_track(240)), SearchQuery())
    with pytest.raises(SegmentInvalid):
        predictor.search(ask(predictor, segments=((0.0, 99.0),)), SearchQuery())


def test_given_segments_are_kept_and_even_ones_cover_the_track():
    track = make_track(500)
    assert cut_track(track, [(1, 2), (3, 4)], 8.0) == [(1.0, 2.0), (3.0, 4.0)]
    cut = cut_track(track, None, 8.0)
    assert cut[0][0] == 0.0
    assert cut[-1][1] == track.duration_s
    assert all(a[1] == b[0] for a, b in zip(cut[:-1], cut[1:], strict=True))
