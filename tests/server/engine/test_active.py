import logging

import pytest

from server.engine.active import (
    Active,
    ActiveSet,
    ActiveVersion,
    bundle_folder,
    read_active,
    served_place,
    served_sha256,
    teaching_folder,
    write_active,
)
from tests.server.support.fakes import make_settings
from weights.bundle.files import manifest_sha256
from weights.errors import BundleError, BundleMissing, RemoteFailed

HAND = ActiveSet(
    bundle="b1",
    bundle_sha256="1" * 64,
    skills={"hand": ActiveVersion(version=2, threshold=0.6)},
    before={"hand": [None, ActiveVersion(version=1)]},
)


def base_sha256():
    return manifest_sha256(make_settings().bundle)


def test_what_is_written_is_read_again_and_before_that_there_is_nothing():
    settings = make_settings()
    assert read_active(settings) == Active()
    active = Active().replaced("a" * 64, HAND)
    write_active(settings, active)
    assert read_active(settings) == active
    assert active.of("a" * 64) == HAND
    assert active.of("b" * 64) == ActiveSet(bundle_sha256="b" * 64)
    assert sorted(p.name for p in teaching_folder(settings).iterdir()) == ["active.json"]


@pytest.mark.parametrize("text", ["", "{", '{"sets": 3}', '{"other": {}}', "\xff"])
def test_a_damaged_file_is_told_and_nothing_else_is_served_in_silence(text):
    settings = make_settings()
    write_active(settings, Active())
    (teaching_folder(settings) / "active.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BundleError, match=r"active\.json"):
        served_place(settings)


def test_the_skills_of_the_configured_bundle_are_served_and_no_others(caplog):
    settings = make_settings()
    assert served_place(settings) == settings.bundle
    assert served_sha256(settings) == base_sha256()
    write_active(settings, Active().replaced(base_sha256(), HAND))
    assert served_place(settings) == bundle_folder(settings, "b1")
    with pytest.raises(BundleMissing):
        served_sha256(settings)
    assert "not served" not in caplog.text
    write_active(settings, Active().replaced("c" * 64, HAND))
    assert served_place(settings) == settings.bundle
    assert "another bundle than EGOPACK_BUNDLE" in caplog.text


@pytest.mark.parametrize("values", [{"teaching": "off"}, {"host": "0.0.0.0", "api_key": "k" * 16}])
def test_where_teaching_is_off_the_configured_bundle_is_served(values, caplog):
    settings = make_settings(**values)
    write_active(settings, Active().replaced(base_sha256(), HAND))
    with caplog.at_level(logging.WARNING):
        assert served_place(settings) == settings.bundle
    assert "not served: hand; teaching is off" in caplog.text


def test_a_bundle_that_cannot_be_asked_for_keeps_its_skills_if_they_are_the_only_ones(monkeypatch):
    def fail(_):
        raise RemoteFailed("nobody answers")

    monkeypatch.setattr("server.engine.active.manifest_sha256", fail)
    settings = make_settings()
    assert served_place(settings) == settings.bundle
    active = Active().replaced("a" * 64, HAND)
    write_active(settings, active)
    assert served_place(settings) == bundle_folder(settings, "b1")
    write_active(settings, active.replaced("b" * 64, HAND))
    with pytest.raises(RemoteFailed):
        served_place(settings)
