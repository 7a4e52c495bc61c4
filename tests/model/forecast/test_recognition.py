"""The recognised past: AR's own graphs, with what was observed at the time and nothing later."""

from dataclasses import replace

import torch

from model.data.records import ActionRecord
from model.data.samples import Tracks
from model.data.task_samples import action_samples, anticipation_samples
from model.forecast.recognition import REACH, past_graphs, recognise
from model.tasks import LTA
from tests.support.factories import TINY, make_samples, make_skills, make_track

SKILLS = make_skills()
SAMPLES = make_samples(actions=25)["lta"]


def answer(inputs):
    return SKILLS({"ar": inputs})["ar"].fused()


def actions(count, clip="c", video="v0", shift=0):
    return [
        ActionRecord(video, clip, i, 150 * i + shift, 150 * i + 240 + shift, i % 5, i % 4)
        for i in range(count)
    ]


def test_graphs_are_those_of_the_clip_cut_after_the_last_observed_action():
    tracks = Tracks.join([make_track(6000, seed=s, video_id=f"v{s}") for s in range(2)])
    clips = [actions(24), actions(26, clip="d", video="v1", shift=7)]
    samples = anticipation_samples([a for clip in clips for a in clip], tracks)
    past = samples.past
    graphs = past_graphs(samples, past, torch.arange(len(past.segments)))
    inputs = graphs.draw(torch.arange(len(graphs)), TINY).inputs.unflatten(0, (-1, REACH + 1))
    first = 0
    for clip in clips:
        for later in range(REACH + 1):
            for place in range(len(clip)):
                cut = action_samples(clip[: place + later + 1], tracks)
                wanted = cut.draw(torch.tensor([place]), TINY).inputs[0]
                assert torch.equal(inputs[first + place, later], wanted)
        first += len(clip)


def test_posteriors_are_tempered_distributions_of_what_some_window_sees():
    past = recognise(SAMPLES, answer, TINY, {"ar.verb": 2.0})
    seen = SAMPLES.past.seen()
    assert past.verb.shape == (50, REACH + 1, 5)
    torch.testing.assert_close(past.verb[seen].sum(-1), torch.ones(len(seen), REACH + 1))
    unseen = torch.ones(50, dtype=torch.bool)
    unseen[seen] = False
    assert unseen.sum() == 2 * 20
    assert (past.noun[unseen] == 0).all()
    plain = recognise(SAMPLES, answer, TINY, {})
    torch.testing.assert_close(past.noun, plain.noun)
    shown = plain.verb[seen].sqrt()
    torch.testing.assert_close(past.verb[seen], shown / shown.sum(-1, keepdim=True))


def test_no_window_sees_a_feature_of_what_comes_after_it():
    past = recognise(SAMPLES, answer, TINY, {})
    windows = SAMPLES.past.windows
    before = past.seen_by(windows)
    end = int(SAMPLES.past.segments[windows.last[0], 1])
    features = SAMPLES.tracks.features.clone()
    features[-(-end // 16) : SAMPLES.tracks.rows["v40"]] = 9.0
    changed = replace(SAMPLES, tracks=replace(SAMPLES.tracks, features=features))
    after = recognise(changed, answer, TINY, {}).seen_by(windows)
    for one, two in zip(before, after, strict=True):
        assert torch.equal(one[0], two[0])
    assert not torch.equal(before[0][1], after[0][1])


def test_the_past_of_samples_is_that_of_their_clips_and_goes_with_them():
    records = actions(30) + actions(4, clip="short") + actions(23, clip="d", video="v1")
    tracks = Tracks.join([make_track(6000, seed=s, video_id=f"v{s}") for s in range(2)])
    samples = anticipation_samples(records, tracks)
    past = samples.past
    assert len(past.segments) == 53  # the short clip has no window
    assert past.sequences().offset.tolist() == [0, 30, 53]
    assert past.windows.last.tolist() == [*range(1, 10), 31, 32]
    mine = past.segments[past.windows.last.unsqueeze(1) + torch.tensor([-1, 0])]
    assert torch.equal(mine, samples.segments)
    future = past.windows.future(past.ids, LTA.num_future)
    assert torch.equal(future[..., 0], samples.labels["verb"])
    some = samples.take(torch.tensor([10, 0])).past.windows
    assert some.last.tolist() == [32, 1]
    assert past.seen().tolist() == [*range(10), 30, 31, 32]
