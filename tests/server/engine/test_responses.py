import pytest

from model.predict.outputs import Prediction
from server.engine import responses as answers
from server.engine.request import ClipResult, StageTimes
from server.schemas.metadata import Limits, ModelFacts
from tests.factories import make_track
from tests.server.fakes import FakePredictor, make_clip, make_settings


def outcome_of(clip, num_frames):
    return ClipResult(
        FakePredictor(), clip, make_track(num_frames), Prediction([], None), StageTimes()
    )


@pytest.mark.parametrize("fps", [15.0, 25.0, 30.0, 60.0])
def test_a_time_becomes_the_index_of_the_source_frame_shown_then(fps):
    outcome = outcome_of(make_clip(240, 0, fps), 240)
    for time_s in (0.0, 1.0, 3.5, 7.9):
        frame = answers.source_frame(outcome, time_s)
        assert frame / fps == pytest.approx(time_s, abs=1 / fps + 1e-9)


def test_times_at_the_very_edges_stay_inside_the_file():
    for clip in (make_clip(60, 0), None):
        outcome = outcome_of(clip, 60)
        assert answers.source_frame(outcome, -0.1) == 0
        assert answers.source_frame(outcome, 2.0) == 59


def test_of_features_the_frame_is_counted_on_their_clock():
    assert answers.source_frame(outcome_of(None, 240), 3.5) == 105


def test_model_facts_hold_numbers_only():
    facts = ModelFacts.of(FakePredictor())
    assert facts.metrics == {"test": {"ar": {"verb_top1": 0.5}}}
    assert facts.label_counts == {"verb": 2, "noun": 2}
    assert facts.licence == "Apache-2.0"


def test_limits_are_the_settings_in_force():
    settings = make_settings(max_upload_mb=3, timeout_s=9)
    limits = Limits.of(settings)
    assert (limits.max_upload_bytes, limits.timeout_s) == (3 * 2**20, 9)
    for name, value in limits.model_dump().items():
        assert value == getattr(settings, name, value)
        assert value > 0
