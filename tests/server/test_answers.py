import pytest

from server import answers
from server.schemas import Limits
from tests.server.fakes import FakePredictor, make_clip, make_settings


@pytest.mark.parametrize("fps", [15.0, 25.0, 30.0, 60.0])
def test_a_time_becomes_the_index_of_the_source_frame_shown_then(fps):
    clip = make_clip(240, 0, fps)
    for time_s in (0.0, 1.0, 3.5, 7.9):
        frame = answers.source_frame(clip, time_s, 30.0)
        assert frame / fps == pytest.approx(time_s, abs=1 / fps + 1e-9)


def test_times_at_the_very_edges_stay_inside_the_file():
    clip = make_clip(60, 0)
    assert answers.source_frame(clip, -0.1, 30.0) == 0
    assert answers.source_frame(clip, 2.0, 30.0) == 59


def test_model_facts_hold_numbers_only():
    facts = answers.model_facts(FakePredictor())
    assert facts.metrics == {"test": {"ar": {"verb_top1": 0.5}}}
    assert facts.label_counts == {"verb": 2, "noun": 2}
    assert facts.licence == "Apache-2.0"


def test_limits_are_the_settings_in_force():
    settings = make_settings(max_upload_mb=3, timeout_s=9)
    limits = answers.limits(settings)
    assert (limits.max_upload_bytes, limits.timeout_s) == (3 * 2**20, 9)
    assert all(hasattr(settings, name) for name in Limits.model_fields)
