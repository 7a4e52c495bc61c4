"""What a stream asks of the model, and the fields of its messages."""

import pytest
import torch

from model.nodes import cut_track
from model.predict.predictor import Predictor, PredictRequest
from server.live.answers import LiveAnswers, sliding_segments
from server.live.options import LiveOptions
from server.live.track import LiveTrack
from tests.support.factories import make_bundle, make_track

WINDOW_S = 31.5 / 30


@pytest.fixture(scope="module")
def predictor():
    return Predictor(make_bundle())


def streamed(predictor, frames, skipped=()):
    """A live track of random rows, and the track that it stands for."""
    encoder = predictor.encoder
    live = LiveTrack(encoder)
    rows = make_track(frames, width=encoder.dim).features
    for n, row in enumerate(rows):
        if n in skipped:
            live.skip()
        else:
            live.append(row)
    return live, live.at(frames, origin_s=2.0, ticks_per_s=30.0)


def test_segments_slide_back_from_the_end():
    track = make_track(32 + 16 * 20)  # 11.73 s
    end_s = track.video_end_s
    assert sliding_segments(track, 4.0, WINDOW_S, 9) == [
        pytest.approx((0.0, end_s - 8)),
        pytest.approx((end_s - 8, end_s - 4)),
        pytest.approx((end_s - 4, end_s)),
    ]
    assert sliding_segments(track, 4.0, WINDOW_S, 1) == [
        pytest.approx((end_s - 8, end_s - 4)),
        pytest.approx((end_s - 4, end_s)),
    ]
    assert sliding_segments(track, 60.0, WINDOW_S, 9) == [(0.0, end_s)]
    # What is left at the begin is too short for a window: it belongs to the first segment.
    assert len(sliding_segments(track, 5.5, WINDOW_S, 9)) == 2


def test_the_present_is_answered_with_what_was_before_it(predictor):
    live, track = streamed(predictor, 32 + 16 * 30)
    answers = LiveAnswers(predictor, LiveOptions(segment_s=2.0, evidence=True))
    request = answers.present(track)
    assert request.tasks == {"ar", "oscc", "pnr"}
    assert request.has_evidence
    assert not LiveAnswers(predictor, LiveOptions()).present(track).has_evidence
    (found,) = predictor.predict([request])
    fields = answers.answer_fields(track, found, 12.5)
    end_s = track.video_end_s
    assert (fields["from_s"], fields["to_s"]) == pytest.approx((end_s - 2, end_s))
    assert fields["lag_ms"] == 12.5
    assert {"ar", "oscc", "pnr", "evidence"} < set(fields)
    # The same end of a longer context: no answer looks further back than the predictor's reach.
    before = [(end_s - 2 * n - 2, end_s - 2 * n) for n in range(7)][::-1]
    whole = PredictRequest(track, request.tasks, segments=tuple(before))
    (expected,) = predictor.predict([whole])
    for own, other in zip(found.segments[-1].ar.verb, expected.segments[-1].ar.verb, strict=True):
        assert own.label == other.label
        assert own.probability == pytest.approx(other.probability, abs=1e-5)
    frame = fields["pnr"]["frame"]
    assert frame == round((fields["pnr"]["time_s"] - 2.0) * 30)


def test_evidence_is_left_out_unless_it_is_asked_for(predictor):
    _, track = streamed(predictor, 320)
    answers = LiveAnswers(predictor, LiveOptions(tasks=["ar"]))
    (found,) = predictor.predict([answers.present(track)])
    assert set(answers.answer_fields(track, found, 0.0)) == {"from_s", "to_s", "lag_ms", "ar"}
    assert answers.forecast(track, streamed(predictor, 320)[0]) is None
    assert LiveAnswers(predictor, LiveOptions(tasks=["lta"])).present(track) is None


def test_a_forecast_is_that_of_the_file_so_far(predictor):
    live, track = streamed(predictor, 32 + 16 * 60)
    answers = LiveAnswers(predictor, LiveOptions(segment_s=2.0))
    (found,) = predictor.predict([answers.forecast(track, live)])
    (expected,) = predictor.predict([PredictRequest(track, frozenset({"lta"}), segment_s=2.0)])
    assert found.lta.hypotheses == expected.lta.hypotheses
    fields = answers.forecast_fields(34.0, found, 3.0)
    assert (fields["at_s"], fields["lag_ms"], len(fields["lta"]["steps"])) == (34.0, 3.0, 20)


def test_segments_that_were_left_out_are_not_looked_back_on(predictor):
    live, track = streamed(predictor, 32 + 16 * 30, skipped=range(8, 15))
    answers = LiveAnswers(predictor, LiveOptions(segment_s=2.0))
    cut = cut_track(track, None, 2.0)
    seen = answers.seen_segments(track, live)
    assert [bounds for bounds in cut if bounds not in seen] == [cut[2], cut[3]]
    asked = answers.forecast(track, live).segments
    assert asked == tuple(seen[-predictor.reach :])
    assert torch.equal(track.features[7], track.features[14])
