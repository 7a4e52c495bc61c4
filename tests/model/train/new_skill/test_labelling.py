import numpy as np
import pytest

from model.train.__main__ import main as train
from model.train.new_skill import labelling
from model.train.new_skill.labelling import Forecasts
from tests.support.own_tasks import write_labels, write_task


def command(folder, name, *more):
    return [
        "labelling", str(write_task(folder, name)), "--labels", str(write_labels(folder, name)),
        "--features", str(folder / "features"), "--bundle", str(folder / "bundle"),
        "--work", str(folder / "work"), *more,
    ]  # fmt: skip


@pytest.mark.slow(3)
def test_suggestions_and_forecasts_are_held_to_what_comes(folder, capsys, monkeypatch):
    monkeypatch.setattr(labelling, "LABELS", 10)
    monkeypatch.setattr(labelling, "FORECAST_FROM", (8,))
    assert train(command(folder, "mood", "--draws", "2", "--draw-from", "train")) == 0
    lines = capsys.readouterr().out.splitlines()
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| mood")]
    assert [cell[0] for cell in cells] == ["mood, 10", "mood, 8 + 10"]
    at_random, suggested = map(float, cells[0][1:3])
    marks = str.maketrans("", "", "[],")
    gained, low, high = map(float, cells[0][3].translate(marks).split())
    assert gained == pytest.approx(suggested - at_random, abs=2e-3)
    assert low <= gained <= high
    for cell in cells[1][3:]:
        accuracy, covered = map(float, cell.split(", "))
        assert 0 <= accuracy <= 1
        assert covered in (0, 0.5, 1)


def test_forecasts_are_covered_where_the_interval_holds_what_came():
    said = np.array([[0.5, 0.4, 0.6], [0.5, 0.4, 0.6], [0.7, 0.6, 1.0], [0.7, 0.6, 1.0]])
    found = Forecasts(said, came=np.array([0.4, 0.7, 0.6, 1.0]), judged=np.zeros(4))
    assert found.row() == ["0.600", "0.300", "0.000, 0.00", "0.675, 0.75"]
    assert Forecasts(said[:0], said[:0, 0], said[:0, 0]).row() == ["-"] * 4


def test_a_kind_without_a_label_a_segment_is_refused(folder, capsys):
    assert train(command(folder, "drop")) == 2
    assert "a localise task has no label" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        train(command(folder, "mood", "--draws", "0"))
