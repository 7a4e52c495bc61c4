import pytest

from model.data.tables.label_rows import rows_from_json
from model.data.task_file import parse_task
from model.errors import LabelsInvalid
from model.predict.predictor import Predictor
from model.train.new_skill.adding import skill_files
from model.train.new_skill.teaching import compare, teach
from tests.model.train.new_skill.teaching.made import clips, label_values, task_values
from weights.bundle import load_bundle


@pytest.fixture(scope="module")
def versions(folder):
    predictor, task = Predictor.from_bundle(folder / "bundle"), parse_task(task_values("mood"))
    values = label_values(folder, "mood", splits=("train", "val", "test"))
    made = {}
    for name, rows in (("1", values), ("2", [r for r in values if r["video"] != "b"])):
        made[name] = teach(predictor, task, rows_from_json(rows), clips(folder))
    return made


def test_two_versions_are_compared_on_the_same_labels(folder, versions):
    rows = rows_from_json(label_values(folder, "mood", splits=("test",)))
    files = {name: skill_files(taught.own) for name, taught in versions.items()}
    found = compare(load_bundle(folder / "bundle"), files, rows, clips(folder))
    assert found["labels"] == 9
    for name, taught in versions.items():
        assert found["accuracy"][name] == pytest.approx(taught.report["accuracy"]["share"])
    ones, twos = found["both_right"] + found["only_1_right"], found["only_2_right"]
    assert ones / 9 == pytest.approx(found["accuracy"]["1"])
    assert (found["both_right"] + twos) / 9 == pytest.approx(found["accuracy"]["2"])
    assert found["difference"] == pytest.approx(found["accuracy"]["2"] - found["accuracy"]["1"])
    assert found["low"] <= found["difference"] <= found["high"]
    assert found["learnt"] == {"1": 0, "2": 0}
    turned = compare(
        load_bundle(folder / "bundle"),
        {"2": files["2"], "1": files["1"]},
        list(reversed(rows)),
        clips(folder),
    )
    assert turned["difference"] == -found["difference"]
    assert turned["accuracy"] == found["accuracy"]


def test_a_version_and_itself_do_not_differ(folder, versions):
    rows = rows_from_json(label_values(folder, "mood", splits=("train",)))
    files = skill_files(versions["1"].own)
    found = compare(
        load_bundle(folder / "bundle"), {"1": files, "1 again": files}, rows, clips(folder)
    )
    assert (found["difference"], found["low"], found["high"]) == (0, 0, 0)
    assert found["learnt"] == {"1": 18, "1 again": 18}


def test_a_label_that_neither_version_has_is_refused(folder, versions):
    values = label_values(folder, "mood", splits=("test",))
    values[4]["label"] = "odd"
    files = {name: skill_files(taught.own) for name, taught in versions.items()}
    with pytest.raises(LabelsInvalid) as caught:
        compare(load_bundle(folder / "bundle"), files, rows_from_json(values), clips(folder))
    assert [place for place, _ in caught.value.errors] == ["/labels/4/label"]
