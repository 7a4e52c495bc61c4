from dataclasses import asdict, replace

import pytest
import torch

from model.errors import FeatureMismatch, SegmentInvalid, UnknownTask
from model.nn.skill_set import build_skills
from model.predict.outputs import Evidence
from model.predict.predictor import Predictor, PredictRequest
from tests.model.predict.requests import ALL, request
from tests.support.factories import make_bundle, make_track
from weights.bundle import load_bundle, save_bundle
from weights.errors import BundleError


def close(a, b):
    """Whether two nested answers agree to 1e-5 in every number and exactly in all else."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(close(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(close, a, b))
    if isinstance(a, float):
        return abs(a - b) <= 1e-5
    return a == b


def test_all_four_tasks_come_from_one_pass(predictor):
    before = predictor.backbone_passes
    answer = predictor.predict([request(predictor)])[0]
    assert predictor.backbone_passes - before == 1
    segment = answer.segments[0]
    assert None not in (segment.ar, segment.oscc, segment.pnr, answer.lta)
    assert len(answer.lta.steps) == 20
    assert [len(h) for h in answer.lta.hypotheses] == [20] * 5


def test_a_batch_of_requests_is_one_pass_too(predictor):
    before = predictor.backbone_passes
    predictor.predict([request(predictor, 240 + 100 * i, seed=i) for i in range(4)])
    assert predictor.backbone_passes - before == 1


def test_a_clip_is_answered_the_same_alone_and_in_a_batch_of_strangers(predictor):
    requests = [
        request(predictor, 240, seed=1),
        request(predictor, 900, seed=2, segment_s=5.0),
        request(predictor, 400, seed=3, tasks=frozenset({"lta", "pnr"})),
        request(predictor, 20, seed=4),
        request(predictor, 600, seed=5, segments=((0.0, 6.0), (4.5, 12.0))),
    ]
    together = predictor.predict(requests)
    for one, answer in zip(requests, together, strict=True):
        assert close(asdict(predictor.predict([one])[0]), asdict(answer))


def test_what_else_is_asked_does_not_change_an_answer(predictor):
    whole = predictor.predict([request(predictor)])[0]
    for task in ALL:
        part = predictor.predict([request(predictor, tasks=frozenset({task}))])[0]
        if task == "lta":
            assert close(asdict(part.lta), asdict(whole.lta))
            assert part.segments[0].ar is None
        else:
            ours, theirs = part.segments[0], whole.segments[0]
            assert close(asdict(getattr(ours, task)), asdict(getattr(theirs, task)))
            assert part.lta is None


def test_the_same_seed_gives_the_same_futures_and_another_does_not(predictor):
    def futures(seed):
        return predictor.predict([replace(request(predictor), seed=seed)])[0].lta.hypotheses

    assert futures(3) == futures(3)
    assert futures(3) != futures(4)


@pytest.mark.parametrize(
    ("num_frames", "expected"),
    [
        (240, [(0.0, 8.0)]),
        (20, [(0.0, 20 / 30)]),
        (270, [(0.0, 9.0)]),  # a remainder shorter than a window joins the segment before it
        (272, [(0.0, 8.0), (8.0, 272 / 30)]),
        (480, [(0.0, 8.0), (8.0, 16.0)]),
        (600, [(0.0, 8.0), (8.0, 16.0), (16.0, 20.0)]),
    ],
)
def test_a_clip_is_cut_every_eight_seconds(predictor, num_frames, expected):
    answer = predictor.predict([request(predictor, num_frames)])[0]
    bounds = [(s.start_s, s.end_s) for s in answer.segments]
    assert bounds == [pytest.approx(pair) for pair in expected]


def test_anticipation_observes_the_last_two_segments(predictor):
    assert predictor.predict([request(predictor, 720)])[0].lta.observed == [1, 2]
    assert predictor.predict([request(predictor, 240)])[0].lta.observed == [0]


def test_faiss_and_torch_search_give_the_same_answers():
    a, b = (Predictor(make_bundle(), search=s) for s in ("torch", "faiss"))
    assert close(asdict(a.predict([request(a)])[0]), asdict(b.predict([request(b)])[0]))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"tasks": frozenset({"ar", "dance"})}, UnknownTask),
        ({"segments": ((0.0, 8.5),)}, SegmentInvalid),
        ({"segments": ((0.0, 4.0), (5.0, 5.0))}, SegmentInvalid),
        ({"segments": ((-1.0, 4.0),)}, SegmentInvalid),
        ({"segments": ((float("nan"), 4.0),)}, SegmentInvalid),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused_by_name(predictor, options, error):
    with pytest.raises(error):
        predictor.predict([request(predictor, **options)])


def test_features_of_another_encoder_are_refused(predictor):
    track = make_track(width=predictor.encoder.dim)
    with pytest.raises(FeatureMismatch, match="tiny"):
        predictor.predict([PredictRequest(track, ALL)])


def test_answers_without_evidence_are_the_same_but_for_it(predictor):
    (full,) = predictor.predict([request(predictor)])
    (bare,) = predictor.predict([request(predictor, has_evidence=False)])
    told = [*full.segments, full.lta]
    assert all(answer.evidence.neighbours and answer.evidence.votes for answer in told)
    for answer in (*bare.segments, bare.lta):
        assert answer.evidence == Evidence()
    without = [replace(answer, evidence=Evidence()) for answer in told]
    assert [*bare.segments, bare.lta] == without


def test_a_saved_bundle_answers_as_the_one_in_memory(predictor, tmp_path):
    save_bundle(make_bundle(), tmp_path / "b")
    loaded = Predictor.from_bundle(tmp_path / "b", search="torch")
    ours = predictor.predict([request(predictor)])[0]
    assert asdict(loaded.predict([request(loaded)])[0]) == asdict(ours)
    assert len(loaded.sha256) == 64


def test_a_tensor_of_the_wrong_shape_is_refused_by_name(tmp_path):
    bundle = make_bundle()
    bundle.skills["oscc"]["head.layers.0.bias"] = torch.zeros(3)
    save_bundle(bundle, tmp_path / "b")
    with pytest.raises(BundleError, match=r"skill-oscc.*head\.layers\.0\.bias.*\(8,\)"):
        build_skills(load_bundle(tmp_path / "b"))


def test_a_backpack_of_another_backbone_is_refused(tmp_path):
    bundle = make_bundle()
    bundle.manifest.backbones["shared"]["backpack_fingerprint"] = "0" * 64
    with pytest.raises(BundleError, match=r"backpack\.safetensors"):
        build_skills(bundle)


def test_a_backpack_without_prototypes_is_refused():
    bundle = make_bundle()
    bundle.backpack.clear()
    with pytest.raises(BundleError, match=r"backpack\.safetensors"):
        build_skills(bundle)


def test_an_encoder_that_is_not_the_manifests_is_refused():
    bundle = make_bundle()
    name = next(iter(bundle.encoder))
    bundle.encoder[name] = bundle.encoder[name] + 1
    with pytest.raises(BundleError, match=r"encoder\.safetensors.*fingerprint"):
        Predictor(bundle)


def test_an_unknown_model_setting_is_refused():
    bundle = make_bundle()
    bundle.manifest.model["gates"] = 3
    with pytest.raises(BundleError, match=r"manifest\.json.*gates"):
        build_skills(bundle)


def test_a_predictor_like_another_has_its_encoder_if_that_is_the_same(tmp_path):
    saved = save_bundle(make_bundle(), tmp_path / "bundle")
    first = Predictor(saved)
    recarded = save_bundle(replace(saved, card="another"), tmp_path / "recarded")
    assert Predictor(recarded, like=first).encoder is first.encoder
    assert Predictor(recarded).encoder is not first.encoder
    renamed = replace(saved.manifest, encoder={**saved.manifest.encoder, "name": "renamed"})
    other = save_bundle(replace(saved, manifest=renamed), tmp_path / "other")
    assert Predictor(other, like=first).encoder is not first.encoder
