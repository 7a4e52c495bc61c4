"""A bundle learnt on released features, and the encoder that makes such features of a video."""

from dataclasses import asdict, replace

import pytest

from extract.encoders.load import load_named_encoder
from extract.features.track import EncoderId
from model.errors import FeatureMismatch
from model.predict.predictor import Predictor, PredictRequest
from tests.support.factories import TINY, make_bundle, make_track
from tests.support.published import DIMS, fetch_small, use_small

RELEASED = {"omnivore_video_swinl": "omnivore-swinl", "slowfast8x8_r101_k400": "slowfast-r101"}


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    weights = fetch_small(tmp_path_factory.mktemp("weights"))
    with pytest.MonkeyPatch.context() as patch:
        use_small(patch)
        return {name: load_named_encoder(name, weights=weights) for name in DIMS}


def bundle_of(features, dim):
    made = make_bundle(replace(TINY, input_size=dim))
    manifest = replace(made.manifest, encoder={"kind": "features", "name": features})
    return replace(made, manifest=manifest, encoder={})


def request(made_by, dim):
    return PredictRequest(make_track(encoder=made_by, width=dim), frozenset({"ar", "lta"}))


@pytest.mark.slow
@pytest.mark.parametrize(("features", "name"), RELEASED.items())
def test_its_tracks_and_released_ones_are_answered_alike(encoders, features, name):
    encoder, dim = encoders[name], DIMS[name]
    predictor = Predictor(bundle_of(features, dim), search="torch", encoder=encoder)
    plain = Predictor(bundle_of(features, dim), search="torch")
    assert predictor.encoder is encoder

    made = request(EncoderId(name, encoder.fingerprint), dim)
    released = request(EncoderId(features, ""), dim)
    answers = [predictor.predict([made]), predictor.predict([released]), plain.predict([released])]
    assert asdict(answers[0][0]) == asdict(answers[1][0]) == asdict(answers[2][0])

    with pytest.raises(FeatureMismatch):
        plain.predict([made])


@pytest.mark.parametrize(
    "made_by",
    [EncoderId("omnivore-swinl", "0" * 64), EncoderId("omnivore-swinl", ""), EncoderId("mvit", "")],
)
def test_tracks_of_others_are_refused_as_before(encoders, made_by):
    bundle = bundle_of("omnivore_video_swinl", 48)
    for encoder in (None, encoders["omnivore-swinl"]):
        predictor = Predictor(bundle, search="torch", encoder=encoder)
        with pytest.raises(FeatureMismatch):
            predictor.predict([request(made_by, 48)])


@pytest.mark.parametrize(
    ("features", "dim", "name"),
    [
        ("omnivore_video_swinl", 48, "slowfast-r101"),
        ("omnivore_video_swinl", 1536, "omnivore-swinl"),
        ("mvit", 48, "omnivore-swinl"),
    ],
)
def test_an_encoder_of_other_features_is_refused(encoders, features, dim, name):
    with pytest.raises(FeatureMismatch, match=f"expected an encoder that makes {features}"):
        Predictor(bundle_of(features, dim), search="torch", encoder=encoders[name])


def test_a_bundle_with_an_encoder_of_its_own_takes_no_other(encoders):
    with pytest.raises(FeatureMismatch, match="its own encoder, tiny"):
        Predictor(make_bundle(), search="torch", encoder=encoders["omnivore-swinl"])
