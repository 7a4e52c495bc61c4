"""A task of one's own that says what a built-in one says gets the very samples of that one."""

from dataclasses import replace

import pytest
import torch

from model.config import ModelConfig
from model.data.custom_task import check_rows, custom_samples, draw_fraction, on_features_clock
from model.data.records import ActionRecord, ChangeRecord
from model.data.samples import Tracks
from model.data.tables.label_file import LabelRow
from model.data.task_file import read_task
from model.data.task_samples import (
    action_samples,
    anticipation_samples,
    change_samples,
    keyframe_samples,
)
from model.errors import AnnotationInvalid
from tests.support.factories import D_IN, make_track

CONFIG = ModelConfig(input_size=D_IN)
TRACKS = [make_track(6000, seed=s, video_id=f"v{s}") for s in range(2)]
ACTIONS = [
    ActionRecord(f"v{v}", f"v{v}", i, 150 * i + v, 150 * i + v + 240, i % 5, i % 4)
    for v in range(2)
    for i in range(25)
]
LABELS = [f"label{i}" for i in range(5)]
ROWS = [
    LabelRow(line, a.video_uid, a.start_frame / 30, a.end_frame / 30, LABELS[a.verb], None, "train")
    for line, a in enumerate(ACTIONS, 2)
]


def own(kind, rows, labels=LABELS, split="train", tmp_path=None, more=""):
    path = tmp_path / "task.toml"
    path.write_text(f'name = "mine"\nkind = "{kind}"\n{more}')
    task = read_task(path)
    return custom_samples(task.spec, rows, split, Tracks.join(TRACKS), labels, fps=30.0)


def assert_same_batches(ours, theirs, output):
    assert len(ours) == len(theirs)
    which = torch.arange(len(ours))
    for seed in (None, 5):
        drawn = [
            s.draw(
                which,
                CONFIG,
                generator=None if seed is None else torch.Generator().manual_seed(seed),
                context_dropout=0.3,
            )
            for s in (ours, theirs)
        ]
        assert torch.equal(drawn[0].inputs, drawn[1].inputs)
        assert torch.equal(drawn[0].labels["mine"], drawn[1].labels[output])


def test_segment_rows_in_any_order_are_the_samples_of_ar(tmp_path):
    ours = own("segment", ROWS[::-1], tmp_path=tmp_path)
    assert_same_batches(ours, action_samples(ACTIONS, Tracks.join(TRACKS)), "verb")


def test_forecast_rows_are_the_samples_of_lta(tmp_path):
    ours = own("forecast", ROWS[::-1], tmp_path=tmp_path)
    assert_same_batches(ours, anticipation_samples(ACTIONS, Tracks.join(TRACKS)), "verb")


def test_graph_and_localise_rows_are_the_samples_of_oscc_and_pnr(tmp_path):
    changes = [
        ChangeRecord(
            str(i), "v0", 200 * i, 200 * i + 240, 200 * i / 30, 200 * i / 30 + 8,
            bool(i % 2), 200 * i + 70 if i % 2 else None,
        )
        for i in range(9)
    ]  # fmt: skip
    rows = [
        LabelRow(i + 2, "v0", c.start_s, c.end_s, LABELS[int(c.state_change)], None, "train")
        for i, c in enumerate(changes)
    ]
    tracks = Tracks.join(TRACKS)
    ours = own("graph", rows, LABELS[:2], tmp_path=tmp_path)
    assert_same_batches(ours, change_samples(changes, tracks), "state")
    instants = [
        replace(r, label="", time_s=c.pnr_frame / 30)
        for r, c in zip(rows, changes, strict=True)
        if c.pnr_frame is not None
    ]
    found = own("localise", instants, ["mine"], tmp_path=tmp_path)
    assert_same_batches(found, keyframe_samples(changes, tracks), "keyframe")


def test_a_split_has_its_own_rows_and_neighbours_only(tmp_path):
    mixed = [replace(r, split="val" if r.video == "v1" else "train") for r in ROWS]
    ours = own("segment", mixed, split="val", tmp_path=tmp_path)
    assert len(ours) == 25
    assert (ours.segments[:, :, 0] % 150 == 1).all()


def test_a_forecast_of_too_short_videos_says_what_it_needs(tmp_path):
    with pytest.raises(AnnotationInvalid, match="needs 22 rows of one video; in train .* has 7"):
        own("forecast", ROWS[:7], tmp_path=tmp_path)


def test_a_row_past_the_end_of_its_video_is_named(tmp_path):
    late = replace(ROWS[3], end_s=200.2)
    check_rows([*ROWS, replace(late, end_s=200.04)], TRACKS, tmp_path)
    with pytest.raises(AnnotationInvalid, match=r"line 5, column end_s: .* 200\.000, where v0"):
        check_rows([*ROWS, late], TRACKS, tmp_path)


@pytest.mark.parametrize("fraction", [0.001, 0.1, 0.5])
def test_a_fraction_keeps_every_class_its_share_and_the_neighbours(tmp_path, fraction):
    whole = own("segment", ROWS, tmp_path=tmp_path)
    few = draw_fraction(whole, fraction, seed=3)
    counts = few.labels["mine"][:, 0].bincount(minlength=5).tolist()
    assert counts == [max(1, round(fraction * 10))] * 5
    where = [whole.names.index(name) for name in few.names]
    assert where == sorted(where)
    assert torch.equal(few.segments, whole.segments[where])
    assert few.names == draw_fraction(whole, fraction, seed=3).names


@pytest.mark.parametrize(
    ("origin_s", "rate"), [(1.5, 30.0), (0.0, 30 / 1.001), (5000.0, 30 / 1.001)]
)
def test_labels_on_a_containers_clock_name_the_frames_they_mean(origin_s, rate):
    """The same frames, told in seconds of a video that starts later or shows 29.97 a second."""
    tracks = [replace(track, origin_s=origin_s, ticks_per_s=rate) for track in TRACKS]
    told = [
        replace(
            row, start_s=origin_s + row.start_s * 30 / rate, end_s=origin_s + row.end_s * 30 / rate
        )
        for row in ROWS
    ]
    check_rows(told, tracks, "labels.csv")
    for ours, theirs in zip(on_features_clock(told, tracks), ROWS, strict=True):
        assert (ours.start_s, ours.end_s) == pytest.approx((theirs.start_s, theirs.end_s))
    assert on_features_clock(ROWS, TRACKS) == ROWS


def test_a_label_before_the_first_frame_is_refused():
    tracks = [replace(TRACKS[0], origin_s=10.0), TRACKS[1]]
    with pytest.raises(AnnotationInvalid, match="line 2, column end_s: expected more than 10.000"):
        check_rows(ROWS[:1], tracks, "labels.csv")
