import json
import logging
from dataclasses import replace

import pytest

from model.data.samples import Tracks
from model.data.task_samples import keyframe_samples
from model.errors import AnnotationInvalid
from tests.model.support.annotation_rows import (
    ACTION,
    LTA,
    NEGATIVE,
    OSCC,
    POSITIVE,
    TAXONOMY,
    without,
    write,
)
from tests.support.factories import make_track


def test_a_late_stream_is_silent_and_a_contradiction_is_told_once(tmp_path, caplog):
    late = POSITIVE | {"parent_start_sec": 10.02, "parent_end_sec": 16.02}
    data = write(tmp_path, OSCC, [late])
    data.changes("train")
    assert caplog.messages == []
    wrong = [late | {"unique_id": str(i), "parent_end_sec": 17.0} for i in range(5)]
    with caplog.at_level(logging.WARNING):
        write(tmp_path, OSCC, [late, *wrong]).changes("train")
    assert len(caplog.messages) == 1
    assert "5 of 6 rows" in caplog.messages[0]


def test_labelled_rows_with_one_id_all_count_and_the_repetition_is_told_once(tmp_path, caplog):
    moved = POSITIVE | {"parent_start_frame": 302}
    data = write(tmp_path, OSCC, [POSITIVE, NEGATIVE, POSITIVE, moved])
    records = data.changes("train")
    assert [r.start_frame for r in records] == [300, 600, 300, 302]
    assert [r.unique_id for r in records].count(POSITIVE["unique_id"]) == 3
    (said,) = caplog.messages
    assert "2 of 4 rows repeat the unique_id of an earlier row, 1 of them word for word" in said
    assert "fho_oscc-pnr_train.json, row 2 " in said


@pytest.mark.parametrize(
    ("frame", "kept"), [(299, None), (300, 300), (480, 480), (481, None), (9000, None)]
)
def test_a_keyframe_outside_its_segment_is_no_keyframe_and_that_is_said(
    tmp_path, caplog, frame, kept
):
    rows = [POSITIVE, NEGATIVE, POSITIVE | {"unique_id": "other", "parent_pnr_frame": frame}]
    records = write(tmp_path, OSCC, rows).changes("train")
    assert [r.state_change for r in records] == [True, False, True]
    assert records[2].pnr_frame == kept
    tracks = Tracks.join([make_track(900, video_id="v")])
    assert keyframe_samples(records, tracks).pnr_frame.tolist() == [390, *([kept] if kept else [])]
    if kept is None:
        (said,) = caplog.messages
        assert "1 of 3 rows have a change of state and no keyframe inside" in said
        assert "fho_oscc-pnr_train.json, row 2 " in said
        assert f"expected a frame from 300 to 480, got {{'parent_pnr_frame': {frame}" in said
    else:
        assert caplog.messages == []


def test_a_positive_without_any_keyframe_keeps_its_change_of_state(tmp_path, caplog):
    row = without(POSITIVE, "parent_pnr_frame", "clip_pnr_frame")
    record = write(tmp_path, OSCC, [row]).changes("train")[0]
    assert (record.state_change, record.pnr_frame) == (True, None)
    assert "PNR leaves them out" in caplog.text


@pytest.mark.parametrize(
    ("told", "is_right"),
    [
        ({"verb": "c_(x,_y)", "verb_label": 2}, True),
        ({"verb": "c", "verb_label": 2}, True),  # without its synonyms
        ({"verb": " C _(x)", "verb_label": 2}, True),
        ({"verb": None}, True),
        ({"verb": "c", "verb_label": None}, True),
        ({"verb": "c"}, False),
        ({"verb": "a", "verb_label": 2}, False),
        ({"noun": "d"}, False),
        ({"verb": 7}, False),
    ],
)
def test_a_label_is_the_taxonomys_name_of_the_rows_text(tmp_path, told, is_right):
    data = write(tmp_path, LTA, [ACTION | {"action_idx": 1}, ACTION | told])
    if is_right:
        assert len(data.actions("train")) == 2
        return
    (space,) = told.keys() - {"verb_label"}
    with pytest.raises(
        AnnotationInvalid,
        match=rf"train\.json, row 1 \(.*\): {space}: expected .* name of {space}_label .*, got "
        rf"{told[space]!r}\. 1 of 2 rows do not agree with fho_lta_taxonomy\.json",
    ):
        data.actions("train")


@pytest.mark.parametrize("space", ["verbs", "nouns"])
def test_a_reversed_taxonomy_is_refused(tmp_path, space):
    rows = [
        ACTION | {"action_idx": i, "verb": "abc"[i], "verb_label": i, "noun": "defg"[i],
                  "noun_label": i}
        for i in range(3)
    ]  # fmt: skip
    data = write(tmp_path, LTA, rows)
    assert len(data.actions("train")) == 3
    reversed_ = {**TAXONOMY, space: TAXONOMY[space][::-1]}
    (data.annotations / "fho_lta_taxonomy.json").write_text(json.dumps(reversed_))
    with pytest.raises(AnnotationInvalid, match=r"fho_lta_train\.json, row 0 "):
        replace(data).actions("train")  # a root reads its taxonomy once


def test_null_labels_are_counted_aloud_once_a_field(tmp_path, caplog):
    rows = [ACTION | {"action_idx": i, "verb_label": None} for i in range(3)]
    write(tmp_path, LTA, [ACTION | {"action_idx": 5}, *rows]).actions("train")
    (said,) = caplog.messages
    assert "3 of 4 rows have no verb_label" in said
    assert "fho_lta_train.json, row 1 " in said
    caplog.clear()
    write(tmp_path, OSCC, [NEGATIVE, POSITIVE | {"state_change": None}]).changes("train")
    (said,) = caplog.messages
    assert "1 of 2 rows have no state_change" in said
