import json
from collections import namedtuple

import pytest

from clients.doctor import machine

Child = namedtuple("Child", "returncode stdout stderr")


def states(findings):
    return {finding.what: finding.state for finding in findings}


@pytest.mark.slow
def test_libraries_are_looked_at_in_a_process_of_their_own(monkeypatch):
    found = list(machine.check_libraries())
    assert states(found) == dict.fromkeys(("video", "onnxruntime", "torch"), "well"), found

    for child, words in (
        (Child(-11, "", "Fatal: segfault"), "status -11"),
        (Child(0, json.dumps({"torch": {"error": "OSError: libcudart"}}), ""), "libcudart"),
        (Child(0, json.dumps({"av": {"ffmpeg": "8", "codecs": ["vp9"]}}), ""), "not h264"),
    ):
        monkeypatch.setattr(machine.subprocess, "run", lambda *_, child=child, **__: child)
        (finding,) = machine.check_libraries()
        assert (finding.state, words in finding.detail) == ("wrong", True)


def test_a_full_disk_is_noted_and_a_missing_folder_is_wrong(monkeypatch, tmp_path):
    monkeypatch.setenv("EGOPACK_SPOOL_DIR", str(tmp_path))
    monkeypatch.setenv("EGOPACK_MAX_SPOOL_MB", "0.001")
    assert machine.check_disk().state == "well"
    monkeypatch.setenv("EGOPACK_MAX_SPOOL_MB", "1e12")
    assert machine.check_disk().state == "note"
    monkeypatch.setenv("EGOPACK_SPOOL_DIR", str(tmp_path / "none"))
    assert machine.check_disk().state == "wrong"


@pytest.mark.slow
def test_a_damaged_bundle_is_noticed(monkeypatch, tmp_path):
    assert machine.check_bundle().state == "well"
    monkeypatch.setenv("EGOPACK_BUNDLE", str(tmp_path))
    assert machine.check_bundle().state == "wrong"
