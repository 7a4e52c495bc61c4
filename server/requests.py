"""A clip's features and a caller's choices -> what the predictor is asked."""

import torch
from torch import Tensor

from extract.extractor import track_from
from model.predictor import Predictor, PredictRequest
from server.decoding import Cut
from server.options import PredictOptions


def request_of(
    predictor: Predictor, cut: Cut, features: list[Tensor], options: PredictOptions
) -> PredictRequest:
    """Returns what to ask about a clip.

    Args:
        predictor: whose encoder made the features.
        cut: the clip.
        features: of its windows in order, in parts of (n, D_in).
        options: what the caller wants to know.
    """
    encoder = predictor.encoder
    track = track_from(
        torch.cat(features), cut.starts, len(cut.clip.frames), encoder.contract, encoder, "clip"
    )
    return PredictRequest(
        track,
        tasks=frozenset(options.tasks or predictor.tasks),
        segments=None if options.segments is None else tuple(options.segments),
        segment_s=options.segment_s,
        top_k=options.top_k,
        seed=options.seed,
    )
