"""Label Studio's export: regions in frames or seconds, an output a control."""

import json

import pytest

from model.data.tables.kinds import load_table
from model.errors import AnnotationInvalid


def region(start, end, label, control="verb", kind="timelinelabels", **item):
    value = {"ranges": [{"start": start, "end": end}], kind: [label]}
    return {"type": kind, "from_name": control, "to_name": "video", "value": value, **item}


def task(*results, video="/data/upload/3/0badcafe-K%C3%BCche%201.MP4", name=7, **annotation):
    data = {"video": video, "note": "first day"}
    return {"id": name, "data": data, "annotations": [{"result": list(results), **annotation}]}


def written(tmp_path, *tasks):
    path = tmp_path / "export.json"
    path.write_text(json.dumps(tasks))
    return path


def load(path, fps=25.0):
    return load_table(f"label-studio:{path}", fps=fps)


def test_frames_count_from_one_and_include_the_last(tmp_path):
    path = written(tmp_path, task(region(1, 25, "cut", id="x"), region(26, 26, "wash")))
    table = load(path)
    assert table.start_s.tolist() == [0, 1]
    assert table.end_s.tolist() == [1, 1.04]
    assert table.labels == {"verb": ("cut", "wash")}
    assert table.videos == ("Küche 1",)
    assert table.where(0) == f"{path}, task 7, region x"


def test_labels_and_choices_of_a_region_are_one_row(tmp_path):
    times = {"start": 0.5, "end": 2.25}
    items = [
        {"id": "r", "from_name": "verb", "type": "labels", "value": {**times, "labels": ["cut"]}},
        {"id": "r", "from_name": "noun", "type": "choices", "value": {**times, "choices": ["pan"]}},
        {"id": "q", "from_name": "verb", "type": "labels", "value": {**times, "labels": ["wash"]}},
        {"id": "t", "from_name": "mood", "type": "choices", "value": {"choices": ["good"]}},
    ]
    table = load_table(f"label-studio:{written(tmp_path, task(*items))}")
    assert table.labels == {"verb": ("cut", "wash"), "noun": ("pan", None)}
    assert table.start_s.tolist() == [0.5, 0.5]
    assert table.end_s.tolist() == [2.25, 2.25]


def test_the_annotation_that_counts(tmp_path):
    several = task(region(1, 9, "old"), updated_at="2026-01-01")
    several["annotations"] += [
        {"result": [region(1, 9, "new")], "updated_at": "2026-02-01"},
        {"result": [region(1, 9, "cancelled")], "updated_at": "2026-03-01", "was_cancelled": True},
    ]
    assert load(written(tmp_path, several)).names("verb") == ["new"]
    several["annotations"][0]["ground_truth"] = True
    empty = {"id": 8, "data": {"video": "b.mp4"}, "annotations": []}
    assert load(written(tmp_path, several, empty)).names("verb") == ["old"]


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/data/local-files/?d=day%201/My%20clip.MP4", "My clip"),
        ("s3://bucket/day 1/clip.webm", "clip"),
        ("https://host/clip.mp4?X-Amz-Date=1&sig=a%2Fb", "clip"),
        ("/data/upload/1/12345678-clip.mov", "clip"),
        ("https://host/12345678-clip.mov", "12345678-clip"),
    ],
)
def test_a_video_is_the_file_of_its_address(tmp_path, address, name):
    assert load(written(tmp_path, task(region(1, 9, "cut"), video=address))).videos == (name,)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            task(region(0, 9, "cut", id="r")),
            "task 7, region r, row 0: start and end: expected frames",
        ),
        (task(region(9, 5, "cut")), "expected frames from 1, in order, got (9.0, 5.0)"),
        (task(region("x", 5, "cut")), "start: expected a number, got 'x'"),
        (task(region(1, 5, "cut") | {"value": {"ranges": 5}}), "a list of objects under 'ranges'"),
        ({"id": 7, "videoLabels": []}, "task 7: expected 'data' and 'annotations'"),
        (task(region(1, 5, "cut"), video="notes.txt"), "task 7, data: expected one address of a"),
        (task() | {"annotations": [{"result": "x"}]}, "task 7: expected a list of objects under"),
        (task(region(1, 9, "cut"), region(1, 9, "cut")), "region 1: repeats "),
        (task(), "no row has a segment"),
    ],
)
def test_what_is_wrong_is_named_by_task_and_region(tmp_path, wrong, said):
    path = written(tmp_path, wrong)
    with pytest.raises(AnnotationInvalid) as error:
        load(path)
    assert str(path) in str(error.value)
    assert said in str(error.value)


def test_frames_need_a_rate_and_all_tasks_that_are_wrong_are_named(tmp_path):
    path = written(tmp_path, *(task(region(1, 5, "cut"), name=name) for name in (1, 2)))
    with pytest.raises(AnnotationInvalid) as error:
        load_table(f"label-studio:{path}")
    for name in (1, 2):
        assert f"task {name}, region 0: counts in frames" in str(error.value)
    path.write_text("[{")
    with pytest.raises(AnnotationInvalid, match="is not JSON"):
        load(path)
