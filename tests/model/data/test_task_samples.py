import math
from dataclasses import replace

import torch
from hypothesis import given
from hypothesis import strategies as st

from model.config import ModelConfig
from model.data.records import ActionRecord, ChangeRecord
from model.data.samples import Tracks
from model.data.task_samples import (
    action_samples,
    anticipation_samples,
    change_samples,
    keyframe_samples,
)
from model.tasks import LTA
from tests.support.factories import D_IN, make_track

CONFIG = ModelConfig(input_size=D_IN)


def actions_of(clip, video, count, *, shift=0):
    return [
        ActionRecord(video, clip, i, shift + 150 * i, shift + 150 * i + 240, i % 5, i % 4)
        for i in range(count)
    ]


def change(pnr, start=300, end=540, *, state=None, name="u"):
    state = pnr is not None if state is None else state
    return ChangeRecord(name, "v0", start, end, start / 30, end / 30, state, pnr)


def hidden(start=300, end=540):
    return ChangeRecord("h", "v0", start, end, start / 30, end / 30, None, None)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_an_action_sees_four_neighbours_each_side_and_the_ends_repeat(tracks):
    samples = action_samples(actions_of("c", "v0", 6), tracks)
    starts = samples.segments[:, :, 0]
    assert starts[0].tolist() == [0, 0, 0, 0, 0, 150, 300, 450, 600]
    assert starts[5].tolist() == [150, 300, 450, 600, 750, 750, 750, 750, 750]
    assert samples.labels["verb"][:, 0].tolist() == [0, 1, 2, 3, 4, 0]
    assert samples.names == [f"c_{i}" for i in range(6)]  # the action answered for


def test_neighbours_never_come_from_another_clip(tracks):
    records = actions_of("a", "v0", 3) + actions_of("b", "v1", 3, shift=7)
    samples = action_samples(records, tracks)
    assert (samples.segments[:3, :, 0] % 10 == 0).all()
    assert (samples.segments[3:, :, 0] % 10 == 7).all()
    assert samples.video_offset[3:].tolist() == [tracks.offset["v1"]] * 3


@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=4), seed=st.integers(0, 99),
    enumeration=st.sampled_from(["current", "before-2023-08"]),
)  # fmt: skip
def test_anticipation_windows_by_a_loop(sizes, seed, enumeration):
    track = Tracks.join([make_track(600, video_id="v0")])
    records = [r for i, n in enumerate(sizes) for r in actions_of(f"c{i}", "v0", n, shift=3 * i)]
    shuffled = [records[p] for p in torch.randperm(len(records), generator=generator(seed))]
    expected = {}
    for i, n in enumerate(sizes):
        clip = actions_of(f"c{i}", "v0", n, shift=3 * i)
        last = n - 20 - 2 - (1 if enumeration == "before-2023-08" else 0)
        for first in range(last + 1):
            window = clip[first : first + 22]
            expected[f"c{i}_{first + 1}"] = (
                [[a.start_frame, a.end_frame] for a in window[:2]],
                [a.verb for a in window[2:]],
                [a.noun for a in window[2:]],
            )
    samples = anticipation_samples(shuffled, track, enumeration=enumeration)
    found = zip(
        samples.segments.tolist(),
        samples.labels["verb"].tolist(),
        samples.labels["noun"].tolist(),
        strict=True,
    )
    assert dict(zip(samples.names, found, strict=True)) == expected


def test_oscc_takes_all_segments_and_pnr_the_positive_ones(tracks):
    records = [change(400), change(None), change(301), change(None, state=True)]
    assert change_samples(records, tracks).labels["state"][:, 0].tolist() == [1, 0, 1, 1]
    assert len(keyframe_samples(records, tracks)) == 2  # a positive without a keyframe is no use


def test_hidden_labels_are_marked_to_be_ignored(tracks):
    records = [change(400), hidden()]
    assert change_samples(records, tracks).labels["state"][:, 0].tolist() == [1, -1]
    samples = keyframe_samples(records, tracks)
    for draw in (None, generator()):
        labels = samples.draw(torch.arange(2), CONFIG, generator=draw).labels["keyframe"]
        assert labels.sum(1).tolist() == [1, -16]
    actions = [replace(a, verb=None, noun=None) for a in actions_of("c", "v0", 24)]
    for made in (action_samples(actions, tracks), anticipation_samples(actions, tracks)):
        assert all((values == -1).all() for values in made.labels.values())


@given(
    bounds=st.lists(st.tuples(st.integers(0, 9000), st.integers(16, 400)), min_size=1, max_size=6),
    share=st.floats(0, 0.999),
)  # fmt: skip
def test_the_keyframe_label_is_the_nearest_instant_by_a_loop(bounds, share):
    track = Tracks.join([make_track(10000, video_id="v0")])
    records = [change(s + int(share * n), s, s + n) for s, n in bounds]
    samples = keyframe_samples(records, track)
    labels = samples.draw(torch.arange(len(records)), CONFIG).labels["keyframe"]
    for record, label in zip(records, labels, strict=True):
        length = record.end_frame - record.start_frame
        instants = [record.start_frame + math.floor(q * length / 16) for q in range(16)]
        gaps = [abs(instant - record.pnr_frame) for instant in instants]
        assert label.tolist() == [int(q == gaps.index(min(gaps))) for q in range(16)]


def test_a_task_may_tell_fewer_steps(tracks):
    spec = replace(LTA, num_nodes=5)
    samples = anticipation_samples(actions_of("c", "v0", 10), tracks, spec=spec)
    assert len(samples) == 6
    assert samples.labels["verb"][0].tolist() == [2, 3, 4]


def test_no_records_make_no_samples(tracks):
    for samples in (
        action_samples([], tracks),
        anticipation_samples(actions_of("c", "v0", 21), tracks),
        change_samples([], tracks),
        keyframe_samples([change(None)], tracks),
    ):
        assert len(samples) == 0
        batch = samples.draw(torch.arange(0), CONFIG)
        assert batch.inputs.shape[0] == 0
