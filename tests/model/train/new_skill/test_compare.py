import json

import pytest

from model.train.__main__ import main as train
from tests.support.own_tasks import write_labels, write_task


def command(folder, *tasks):
    labels = [part for t in tasks for part in ("--labels", str(write_labels(folder, t)))]
    return [
        "compare", *(str(write_task(folder, t)) for t in tasks), *labels,
        "--features", str(folder / "features"), "--bundle", str(folder / "bundle"),
        "--work", str(folder / "work"), "--out", str(folder / "runs.json"),
    ]  # fmt: skip


@pytest.mark.slow(2)
def test_all_methods_answer_the_same_draws_and_none_is_made_twice(folder, capsys):
    more = ["--draws", "2", "--egopack-draws", "1", "--counts"]
    assert train([*command(folder, "mood", "hand"), *more, "1"]) == 0
    out = folder / "runs.json"
    first = json.loads(out.read_text())
    assert len(first) == 2 * (2 + 1)  # two draws of all closed forms, one of the paper's way
    key = next(key for key in first if key.endswith(" 1 0"))
    assert set(first[key]) == {"auto", "head", "perspectives", "smoothed", "posterior", "examples"}
    first[key]["head"]["val"] = [-900]  # a draw that was made again would not say so
    out.write_text(json.dumps(first))
    capsys.readouterr()
    assert train([*command(folder, "mood", "hand"), *more, "1", "2"]) == 0
    runs = json.loads(out.read_text())
    assert {k: runs[k] for k in first} == first
    assert len(runs) == 2 * len(first)
    table = capsys.readouterr().out
    assert "| mood | 1 (2) | -" in table  # the mark left above
    for row in ("| mood | 2 (4) |", "| hand | 1 (2) |", "| **mean** | 2 |", "| test |"):
        assert row in table
    for split in ("val", "test"):
        assert (folder / f"runs-{split}.png").read_bytes().startswith(b"\x89PNG")


def test_a_labels_file_is_needed_for_each_task(folder, capsys):
    arguments = command(folder, "mood")
    arguments.insert(1, arguments[1])
    assert train(arguments) == 2
    assert "2 task files and 1 --labels" in capsys.readouterr().err


def test_no_labels_at_all_are_refused_by_the_command_line(folder):
    with pytest.raises(SystemExit):
        train([*command(folder, "mood"), "--counts", "0"])


def test_a_kind_without_a_label_a_segment_is_refused(folder, capsys):
    assert train(command(folder, "drop")) == 2
    assert "a localise task has no label" in capsys.readouterr().err
