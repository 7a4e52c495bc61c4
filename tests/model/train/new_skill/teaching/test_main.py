"""The process that works a request off; that it teaches the same stands in `test_teach.py`."""

import json
import subprocess
import sys

import pytest

from model.train.new_skill.teaching import __main__ as process
from tests.model.train.new_skill.teaching.made import label_values, task_values, write_request


def errors_of(place):
    assert not (place / "result").exists()
    found = json.loads((place / "error.json").read_text())["errors"]
    return {error["pointer"]: error["message"] for error in found}


@pytest.mark.parametrize(
    ("change", "pointer", "words"),
    [
        ({"task": {"name": "mood", "kind": "grpah"}}, "/task/kind", "expected one of"),
        ({"task": {"name": "ar", "kind": "graph"}}, "/task/name", "means something else"),
        ({"none_label": "x"}, "/none_label", "expected one of the labels"),
        ({"method": "egopack"}, "/method", "expected auto or head"),
        ({"labels": []}, "/labels", "one or more"),
        ({"labels": [{"video": "a"}]}, "/labels/0/start_s", "a number of seconds"),
        ({"bundle": "/nowhere"}, "", "is this a bundle?"),
    ],
)
def test_a_wrong_request_says_where(folder, tmp_path, change, pointer, words):
    values = {"task": task_values("mood"), "labels": label_values(folder, "mood")}
    place = write_request(tmp_path, folder, action="teach", **(values | change))
    assert process.main([str(place)]) == 2
    (found,) = errors_of(place).items()
    assert found[0] == pointer
    assert words in found[1]


def test_a_full_disk_leaves_no_part_of_a_result(tmp_path, monkeypatch):
    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(process, "sync", full)
    with pytest.raises(OSError, match="No space left"):
        process.write_result({"a": b"1", "b": b"2"}, tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    (tmp_path / "result.new").mkdir()  # left by a killed process
    (tmp_path / "result.new" / "c").touch()
    process.write_result({"a": b"1", "b": b"2"}, tmp_path)
    assert {p.name: p.read_bytes() for p in (tmp_path / "result").iterdir()} == {
        "a": b"1", "b": b"2",
    }  # fmt: skip
    assert [p.name for p in tmp_path.iterdir()] == ["result"]


@pytest.mark.service
@pytest.mark.slow(5)
def test_it_is_a_process_of_its_own_that_compares_versions(folder, tmp_path):
    values = {"task": task_values("mood"), "labels": label_values(folder, "mood")}
    for name in ("one", "two"):
        place = write_request(tmp_path / name, folder, action="teach", **values)
        assert process.main([str(place)]) == 0
    versions = {name: str(tmp_path / name / "result") for name in ("one", "two")}
    labels = label_values(folder, "mood", splits=("test",))
    place = write_request(
        tmp_path / "both", folder, action="compare", labels=labels, versions=versions
    )
    command = [sys.executable, "-m", "model.train.new_skill.teaching", str(place)]
    subprocess.run(command, check=True, capture_output=True)
    found = json.loads((place / "result" / "comparison.json").read_text())
    assert (found["labels"], found["difference"]) == (9, 0)
