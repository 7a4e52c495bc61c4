from dataclasses import replace

import pytest
import torch

from model.data.samples import Tracks
from model.data.task_samples import (
    action_samples,
    anticipation_samples,
    change_samples,
    keyframe_samples,
)
from model.tasks import AR, LTA, OSCC, PNR
from tests.model.data.test_task_samples import (
    CONFIG,
    actions_of,
    change,
    generator,
)


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
