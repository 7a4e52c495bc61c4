from dataclasses import replace

import pytest

from model.predict import outputs
from model.predict.outputs import Prediction
from server.engine import responses
from server.engine.response_pieces import PredictionPieces
from server.schemas.options import PredictOptions
from tests.server.engine.test_responses import outcome_of
from tests.server.support.fakes import make_clip

MARK = '"segments":[]'
EVIDENCE = outputs.Evidence({"ar": {MARK: []}}, {"ar.verb": {"own": MARK}})


def segment(number):
    ar = outputs.ArAnswer([outputs.Ranked(0, f"a {MARK} é", 0.5)], [])
    return outputs.SegmentAnswer(number / 2, number / 2 + 0.5, ar, None, None, EVIDENCE)


@pytest.mark.parametrize("clip", [None, make_clip(60, 0)])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_pieces_together_are_the_bytes_of_the_whole(clip, count):
    options = PredictOptions()
    lta = outputs.LtaAnswer([0], [], [[("put", "cup")]], EVIDENCE)
    whole = replace(
        outcome_of(clip, 60), prediction=Prediction([segment(n) for n in range(count)], lta)
    )
    body = responses.prediction(whole, options, answer_id="x", total_s=0.25)
    pieces, made, rest = PredictionPieces(options, "x"), b"", whole.prediction.segments
    for size in (0, 2, 1, 0, 4):
        part, rest = rest[:size], rest[size:]
        made += pieces.part(replace(whole, prediction=Prediction(part, None)))
    made += pieces.end(whole.without_segments(), 0.25)
    assert made == body.model_dump_json(exclude_none=True).encode()
