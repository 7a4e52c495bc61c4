"""Requests to a predictor."""

from extract.features.track import EncoderId
from model.predict.predictor import PredictRequest
from tests.support.factories import make_track

ALL = frozenset({"ar", "lta", "oscc", "pnr"})


def request(predictor, num_frames=240, seed=0, tasks=ALL, **options):
    made_by = EncoderId("tiny", predictor.encoder.fingerprint)
    track = make_track(num_frames, seed=seed, encoder=made_by, width=predictor.encoder.dim)
    return PredictRequest(track, tasks, **options)
