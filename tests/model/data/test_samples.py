import json
from pathlib import Path

import pytest
import torch

from model.config import ModelConfig
from model.data.annotations import ActionRecord, ChangeRecord, DataRoot
from model.data.samples import (
    Tracks,
    action_samples,
    anticipation_samples,
    change_samples,
    keyframe_samples,
)
from model.errors import AnnotationInvalid
from tests.factories import D_IN, make_track

CONFIG = ModelConfig(input_size=D_IN)


def actions_of(clip, video, count, *, shift=0):
    return [
        ActionRecord(video, clip, i, shift + 150 * i, shift + 150 * i + 240, i % 5, i % 4)
        for i in range(count)
    ]


@pytest.fixture
def tracks():
    return Tracks.join([make_track(6000, seed=s, video_id=f"v{s}") for s in range(2)])


def test_an_action_sees_four_neighbours_each_side_and_the_ends_repeat(tracks):
    samples = action_samples(actions_of("c", "v0", 6), tracks)
    starts = samples.segments[:, :, 0]
    assert starts[0].tolist() == [0, 0, 0, 0, 0, 150, 300, 450, 600]
    assert starts[5].tolist() == [150, 300, 450, 600, 750, 750, 750, 750, 750]
    assert samples.labels["verb"][:, 0].tolist() == [0, 1, 2, 3, 4, 0]


def test_neighbours_never_come_from_another_clip(tracks):
    records = actions_of("a", "v0", 3) + actions_of("b", "v1", 3, shift=7)
    samples = action_samples(records, tracks)
    assert (samples.segments[:3, :, 0] % 10 == 0).all()
    assert (samples.segments[3:, :, 0] % 10 == 7).all()
    assert samples.video_offset[3:].tolist() == [tracks.offset["v1"]] * 3


@pytest.mark.parametrize(("skip_last", "expected"), [(False, 4), (True, 3)])
def test_both_enumerations_of_anticipation_windows(tracks, skip_last, expected):
    records = actions_of("a", "v0", 25) + actions_of("b", "v1", 10)
    samples = anticipation_samples(records, tracks, skip_last=skip_last)
    assert len(samples) == expected
    assert samples.segments[1, :, 0].tolist() == [150, 300]
    assert samples.labels["verb"][1].tolist() == [i % 5 for i in range(3, 23)]
    assert samples.names[1] == "a_2"  # the last observed action


def change(pnr, start=300, end=540):
    return ChangeRecord("u", "v0", start, end, start / 30, end / 30, pnr is not None, pnr)


def test_oscc_takes_all_segments_and_pnr_the_positive_ones(tracks):
    records = [change(400), change(None), change(301)]
    assert change_samples(records, tracks).labels["state"][:, 0].tolist() == [1, 0, 1]
    assert len(keyframe_samples(records, tracks)) == 2


def test_the_keyframe_label_is_the_nearest_instant(tracks):
    samples = keyframe_samples([change(400), change(300), change(539), change(307)], tracks)
    labels = samples.draw(torch.arange(4), CONFIG).labels["keyframe"]
    # instants every 15 frames from 300: 400 -> 405 (node 7), 307 -> 300 (node 0)
    assert labels.argmax(1).tolist() == [7, 0, 15, 0]
    assert labels.sum(1).tolist() == [1] * 4


def test_training_crops_keep_the_keyframe_and_last_five_to_eight_seconds(tracks):
    samples = keyframe_samples([change(p) for p in range(300, 540, 7)], tracks)
    generator = torch.Generator().manual_seed(0)
    from model.data.samples import _crop

    for _ in range(20):
        crop = _crop(samples.segments, samples.pnr_frame, generator)[:, 0]
        assert (crop[:, 0] >= 300).all()
        assert (crop[:, 1] <= 540).all()
        assert ((crop[:, 0] <= samples.pnr_frame) & (samples.pnr_frame < crop[:, 1])).all()
        assert ((crop[:, 1] - crop[:, 0]) >= 150).all()


def test_context_dropout_leaves_only_the_answered_action(tracks):
    samples = action_samples(actions_of("c", "v0", 12), tracks)
    generator = torch.Generator().manual_seed(0)
    batch = samples.draw(torch.tensor([5]), CONFIG, generator=generator, context_dropout=1.0)
    alone = action_samples(actions_of("c", "v0", 12)[5:6], tracks)
    rows = set(map(tuple, batch.inputs[0].flatten(0, 1).tolist()))
    start, end = alone.segments[0, 0].tolist()
    inside = tracks.features[-(-start // 16) : (end - 32) // 16 + 1]
    assert rows <= set(map(tuple, inside.tolist()))


def test_a_batch_holds_the_rows_of_its_own_video(tracks):
    records = actions_of("a", "v0", 3) + actions_of("b", "v1", 3)
    inputs = action_samples(records, tracks).draw(torch.tensor([0, 3]), CONFIG).inputs
    assert not torch.equal(inputs[0], inputs[1])
    second = tracks.features[tracks.offset["v1"] :]
    assert torch.equal(inputs[1, 4], second[[2, 6, 11]])  # 14 rows: thirds of 4, middle 2


ROW = {
    "video_uid": "v", "clip_uid": "c", "action_idx": 0, "clip_parent_start_frame": 100,
    "action_clip_start_frame": 30, "action_clip_end_frame": 270, "verb_label": 1, "noun_label": 2,
}  # fmt: skip


def write(root: Path, name: str, value) -> DataRoot:
    folder = root / "v1/annotations"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(value))
    return DataRoot(root)


def test_action_frames_are_counted_in_the_full_video(tmp_path):
    data = write(tmp_path, "fho_lta_val.json", {"clips": [ROW]})
    record = data.actions("val")[0]
    assert (record.start_frame, record.end_frame) == (130, 370)


def test_negatives_without_clip_fields_are_read(tmp_path):
    row = {
        "unique_id": "n", "video_uid": "v", "parent_start_frame": 0, "parent_end_frame": 200,
        "parent_start_sec": 0.0, "parent_end_sec": 6.7, "state_change": False, "pnr_frame": None,
    }  # fmt: skip
    for value in ({"clips": [row]}, [row]):  # wrapped, and the older bare list
        record = write(tmp_path, "fho_oscc-pnr_train.json", value).changes("train")[0]
        assert record.state_change is False
        assert record.pnr_frame is None


def test_a_missing_file_says_what_was_looked_for_and_how_to_get_it(tmp_path):
    with pytest.raises(AnnotationInvalid, match=r"fho_lta_train\.json.*ego4d --datasets"):
        DataRoot(tmp_path).actions("train")


def test_a_missing_field_is_named(tmp_path):
    row = {k: v for k, v in ROW.items() if k != "action_clip_end_frame"}
    data = write(tmp_path, "fho_lta_val.json", {"clips": [row]})
    with pytest.raises(AnnotationInvalid, match="action_clip_end_frame"):
        data.actions("val")
