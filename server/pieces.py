"""A question about a long track, cut into small ones whose answers make up the same answer.

So that nobody has to wait until hundreds of segments have been reasoned about in one go.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from model.nodes import Bounds
from model.predict.outputs import Prediction
from model.predict.predictor import Predictor, PredictRequest

PIECE_SEGMENTS = 16
"""Segments answered together."""


@dataclass(frozen=True, eq=False)
class Chunk:
    """A part of a question.

    Attributes:
        request: asks about the part's segments and those that have a say in their answers.
        first: which of all segments the request's first one is.
        margin: answers at the beginning that belong to the piece before.
        count: answers after those that belong to this one.
    """

    request: PredictRequest
    first: int
    overlap: int
    count: int


def chunks_of(request: PredictRequest, cut: Sequence[Bounds], predictor: Predictor) -> list[Chunk]:
    """Returns the pieces of a question, in order; the last one asks about the future too.

    Args:
        request: the whole question.
        cut: all its segments.
        predictor: knows how far an answer looks.
    """
    pieces = []
    here = request.tasks - predictor.forecasts
    for start in range(0, len(cut), PIECE_SEGMENTS):
        end = min(start + PIECE_SEGMENTS, len(cut))
        first = max(0, start - predictor.reach)
        part = replace(
            request,
            segments=tuple(cut[first : end + predictor.reach]),
            tasks=request.tasks if end == len(cut) else here,
        )
        pieces.append(Chunk(part, first, start - first, end - start))
    return pieces


def joined(pieces: Sequence[Chunk], answers: Sequence[Prediction]) -> Prediction:
    """Returns the answer to the whole question."""
    segments = [
        segment
        for piece, answer in zip(pieces, answers, strict=True)
        for segment in answer.segments[piece.overlap : piece.overlap + piece.count]
    ]
    first, last = pieces[-1].first, answers[-1]
    lta = last.lta
    if lta is not None:
        lta = replace(lta, observed=[first + index for index in lta.observed])
    skills = {
        name: replace(answer, observed=[first + index for index in answer.observed])
        for name, answer in last.skills.items()
    }
    return Prediction(segments, lta, skills)
