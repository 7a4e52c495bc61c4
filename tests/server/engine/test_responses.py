import pytest

from model.predict.outputs import Prediction
from server.engine import responses
from server.engine.request import ClipResult, StageTimes
from tests.server.support.fakes import FakePredictor, make_clip
from tests.support.factories import make_track


def outcome_of(clip, num_frames):
    return ClipResult(
        FakePredictor(), clip, make_track(num_frames), Prediction([], None), StageTimes()
    )


@pytest.mark.parametrize("fps", [15.0, 25.0, 30.0, 60.0])
def test_a_time_becomes_the_index_of_the_source_frame_shown_then(fps):
    outcome = outcome_of(make_clip(240, 0, fps), 240)
    for time_s in (0.0, 1.0, 3.5, 7.9):
        frame = responses.source_frame(outcome, time_s)
        assert frame / fps == pytest.approx(time_s, abs=1 / fps + 1e-9)


def test_times_at_the_very_edges_stay_inside_the_file():
    for clip in (make_clip(60, 0), None):
        outcome = outcome_of(clip, 60)
        assert responses.source_frame(outcome, -0.1) == 0
        assert responses.source_frame(outcome, 2.0) == 59


def test_of_features_the_frame_is_counted_on_their_clock():
    assert responses.source_frame(outcome_of(None, 240), 3.5) == 105
