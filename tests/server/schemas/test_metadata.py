from server.schemas.metadata import Limits, ModelFacts
from tests.server.support.fakes import FakePredictor, make_settings


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
