import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.config import ModelConfig
from model.data.records import ActionRecord, ChangeRecord
from model.data.samples import (
    Tracks,
    action_samples,
    anticipation_samples,
    change_samples,
    keyframe_samples,
)
from model.tasks import AR, LTA, OSCC, PNR
from tests.factories import D_IN, make_track

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


@pytest.fixture(scope="module")
def tracks():
    return Tracks.join([make_track(6000, seed=s, video_id=f"v{s}") for s in range(2)])


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


def test_training_crops_as_it_is_told(tracks):
    samples = keyframe_samples([change(420)] * 500, tracks)
    firsts = {}
    for rule in ("uniform", "ego4d"):
        batch = samples.draw(torch.arange(500), CONFIG, generator=generator(), keyframe_crop=rule)
        firsts[rule] = batch.labels["keyframe"].argmax(1).double().mean()
    assert firsts["ego4d"] < firsts["uniform"] - 1  # its crops begin later
    whole = samples.draw(torch.arange(500), CONFIG, keyframe_crop="ego4d")
    assert whole.labels["keyframe"].argmax(1).unique().tolist() == [8]


@pytest.mark.parametrize(("make", "answered"), [(action_samples, 4), (anticipation_samples, 1)])
def test_context_dropout_leaves_only_the_answered_segment(tracks, make, answered):
    samples = make(actions_of("c", "v0", 26), tracks)
    batch = samples.draw(torch.tensor([3]), CONFIG, generator=generator(), context_dropout=1.0)
    start, end = samples.segments[3, answered].tolist()
    inside = tracks.features[-(-start // 16) : (end - 32) // 16 + 1]
    rows = set(map(tuple, batch.inputs[0].flatten(0, 1).tolist()))
    assert rows <= set(map(tuple, inside.tolist()))


def test_a_batch_holds_the_rows_of_its_own_video(tracks):
    records = actions_of("a", "v0", 3) + actions_of("b", "v1", 3)
    inputs = action_samples(records, tracks).draw(torch.tensor([0, 3]), CONFIG).inputs
    assert not torch.equal(inputs[0], inputs[1])
    second = tracks.features[tracks.offset["v1"] :]
    assert torch.equal(inputs[1, 4], second[[2, 6, 11]])  # 14 rows: thirds of 4, middle 2


def all_tasks(tracks, specs=(AR, LTA, OSCC, PNR)):
    ar, lta, oscc, pnr = specs
    actions = actions_of("a", "v0", 24) + actions_of("b", "v1", 30, shift=5)
    changes = [change(400 + i, name=str(i)) for i in range(8)]
    return [
        action_samples(actions, tracks, spec=ar),
        anticipation_samples(actions, tracks, spec=lta),
        change_samples(changes, tracks, spec=oscc),
        keyframe_samples(changes, tracks, spec=pnr),
    ]


@pytest.mark.parametrize("windows", ["contained", "overlapping"])
def test_a_batch_is_its_samples_one_by_one(tracks, windows):
    config = replace(CONFIG, windows=windows)
    for samples in all_tasks(tracks):
        which = torch.randperm(len(samples), generator=generator())
        batch = samples.draw(which, config)
        for place, sample in enumerate(which.tolist()):
            alone = samples.draw(torch.tensor([sample]), config)
            assert torch.equal(batch.inputs[place], alone.inputs[0])
            for name, values in batch.labels.items():
                assert torch.equal(values[place], alone.labels[name][0])


def test_half_precision_tracks_give_float32_batches_of_the_same_values(tracks):
    half = Tracks(tracks.features.half(), tracks.offset, tracks.rows)
    whole = Tracks(tracks.features.half().float(), tracks.offset, tracks.rows)
    for one, other in zip(all_tasks(half), all_tasks(whole), strict=True):
        batch = one.draw(torch.arange(3), CONFIG)
        assert batch.inputs.dtype == torch.float32
        assert torch.equal(batch.inputs, other.draw(torch.arange(3), CONFIG).inputs)


def test_tasks_of_ones_own_with_the_same_shapes_are_drawn_alike(tracks):
    own = (
        replace(AR, name="grip", outputs=("hand",)),
        replace(LTA, name="plan", outputs=("step", "tool")),
        replace(OSCC, name="wet", outputs=("is_wet",)),
        replace(PNR, name="touch", outputs=("instant",)),
    )
    mine, theirs = all_tasks(tracks, own), all_tasks(tracks)
    for samples, spec, known in zip(mine, own, theirs, strict=True):
        assert samples.spec is spec
        which = torch.arange(4)
        batch, expected = (
            s.draw(which, CONFIG, generator=generator(), context_dropout=0.5)
            for s in (samples, known)
        )
        assert set(batch.labels) == set(spec.outputs)
        assert torch.equal(batch.inputs, expected.inputs)
        for name, other in zip(spec.outputs, known.spec.outputs, strict=False):
            assert torch.equal(batch.labels[name], expected.labels[other])


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
