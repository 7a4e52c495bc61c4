from dataclasses import replace

import pytest

from model.predict import outputs
from model.predict.outputs import Prediction
from server.engine import responses
from server.engine.request import ClipResult, StageTimes
from server.schemas.options import PredictOptions
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


def test_examples_are_in_the_evidence_only_where_a_skill_has_them():
    example = outputs.Example("kitchen", 12.0, 20.0, "both", 0.9)
    for examples in ({}, {"hand": [example]}):
        found = outputs.Evidence({"hand": {}}, {"hand.hand": {"own": "both"}}, examples)
        segment = outputs.SegmentAnswer(0.0, 2.0, None, None, None, found)
        outcome = replace(outcome_of(None, 60), prediction=Prediction([segment], None))
        body = responses.prediction(outcome, PredictOptions(), answer_id="a", total_s=0.1)
        shown = body.segments[0].evidence.model_dump(exclude_none=True)
        assert ("examples" in shown) == bool(examples)
        if examples:
            assert shown["examples"]["hand"][0]["start_s"] == 12.0


@pytest.mark.parametrize("is_certain", [True, False, None])
def test_an_answer_says_whether_it_is_certain_only_where_the_skill_has_a_threshold(is_certain):
    own = outputs.SkillAnswer([outputs.Ranked(1, "both", 0.7)], is_certain=is_certain)
    segment = outputs.SegmentAnswer(0.0, 2.0, None, None, None, outputs.Evidence(), {"hand": own})
    outcome = replace(outcome_of(None, 60), prediction=Prediction([segment], None))
    body = responses.prediction(outcome, PredictOptions(), answer_id="a", total_s=0.1)
    shown = body.segments[0].model_dump(exclude_none=True)["skills"]["hand"]
    assert shown.get("is_certain") is is_certain
    assert ("is_certain" in shown) == (is_certain is not None)
