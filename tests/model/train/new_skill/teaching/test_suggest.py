from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from model.data.tables.label_rows import rows_from_json
from model.data.task_file import parse_task
from model.errors import LabelsInvalid, TaskInvalid
from model.predict.predictor import Predictor
from model.train.new_skill.teaching import suggest, teach
from model.train.new_skill.teaching.suggest import (
    DISAGREE,
    TYPICAL,
    UNLIKE,
    UNSURE,
    choose,
    disagreement,
    uncertainty,
)
from tests.model.train.new_skill.teaching.made import clips, label_values, task_values
from tests.support.factories import make_bundle


@pytest.fixture(scope="module")
def predictor(folder):
    return Predictor.from_bundle(folder / "bundle")


def suggested(folder, predictor, values, **more):
    rows = rows_from_json(values) if values else []
    return suggest(predictor, parse_task(task_values("mood")), rows, clips(folder), **more)


def test_suggestions_are_unlabelled_segments_with_votes_and_a_reason(folder, predictor):
    values = label_values(folder, "mood")[::3]
    found = suggested(folder, predictor, values, count=7)
    assert len({(s.video, s.start_s) for s in found}) == 7
    for one in found:
        assert set(one.votes) == {v["label"] for v in values}
        assert sum(one.votes.values()) == pytest.approx(1)
        assert 0 <= one.disagreement <= 1
        assert one.disagreement > 0 or one.why != DISAGREE
        assert 0 <= one.distance <= 1
        assert one.why in (DISAGREE, UNSURE, UNLIKE)
        assert one.end_s - one.start_s == pytest.approx(6.0, abs=6.0)  # as the labels, and a rest
        overlaps = [
            min(one.end_s, v["end_s"]) - max(one.start_s, v["start_s"])
            for v in values
            if v["video"] == one.video
        ]
        assert max(overlaps, default=0) < 0.5 * (one.end_s - one.start_s)
    assert suggested(folder, predictor, values, count=7) == found


def test_without_labels_they_are_spread_over_the_clips(folder, predictor):
    found = suggested(folder, predictor, [], count=5)
    assert [s.why for s in found] == [TYPICAL, *[UNLIKE] * 4]
    assert all(s.votes == {} and s.disagreement == 0 for s in found)
    distances = [s.distance for s in found]
    assert distances == sorted(distances, reverse=True)
    assert found[0].end_s - found[0].start_s == 8.0
    one_class = [v for v in label_values(folder, "mood") if v["label"] == "wild"]
    assert {s.why for s in suggested(folder, predictor, one_class)} == {UNLIKE}


def test_there_may_be_fewer_than_asked_for(folder, predictor):
    whole = suggested(folder, predictor, [], count=1000, segment_s=20.0)
    assert len(whole) == 4 * 2  # four clips of 40 s
    labelled = [
        {"video": s.video, "start_s": s.start_s, "end_s": s.end_s, "label": "ab"[i % 2]}
        for i, s in enumerate(whole)
    ]
    assert suggested(folder, predictor, labelled, segment_s=20.0) == []
    (left,) = suggested(folder, predictor, labelled[:-1], segment_s=20.0)
    assert (left.video, left.start_s) == (whole[-1].video, whole[-1].start_s)


def test_held_out_labels_are_not_learnt_from(folder, predictor):
    values = label_values(folder, "mood")
    turned = {"calm, quiet": "wild", "wild": "calm, quiet"}
    extra = label_values(folder, "mood", splits=("train", "test"))
    held = [v for v in extra if v["split"] == "test"]
    other = [v | {"label": turned[v["label"]]} for v in held]
    one, two = (suggested(folder, predictor, values + more) for more in (held, other))
    assert one == two


def test_what_is_wrong_is_said(folder, predictor):
    values = label_values(folder, "mood")
    with pytest.raises(LabelsInvalid, match="/labels/0/video"):
        suggested(folder, predictor, [values[0] | {"video": "z"}])
    for wrong in ({"count": 0}, {"segment_s": 0.0}, {"segment_s": float("nan")}):
        with pytest.raises(TaskInvalid, match="expected"):
            suggested(folder, predictor, values, **wrong)


@pytest.fixture(scope="module")
def bare():
    """A bundle without a backpack."""
    bundle = make_bundle()
    facts = {name: {**f, "perspectives": []} for name, f in bundle.manifest.skills.items()}
    shared = {**bundle.manifest.backbones["shared"], "backpack_fingerprint": None}
    manifest = replace(bundle.manifest, skills=facts, backbones={"shared": shared})
    plain = {
        name: {k: t for k, t in tensors.items() if k.startswith(("head.", "classifier."))}
        for name, tensors in bundle.skills.items()
    }
    return Predictor(replace(bundle, manifest=manifest, backpack={}, skills=plain))


def test_without_a_backpack_the_plain_head_says_what_it_doubts(folder, bare):
    values = label_values(folder, "mood")
    found = suggested(folder, bare, values, count=8)
    assert {s.why for s in found} <= {UNSURE, UNLIKE}
    task, rows = parse_task(task_values("mood")), rows_from_json(values)
    reports = [teach(bare, task, rows, clips(folder), method=m).report for m in ("auto", "head")]
    assert reports[0] == reports[1]
    assert [voter["name"] for voter in reports[0]["voters"]] == ["own"]


def test_disagreement_is_none_of_equal_votes_and_all_of_opposite_ones():
    sure = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).clamp(1e-12).log()
    votes = torch.stack([sure, sure.flip(1)]).double()
    weights = torch.tensor([0.5, 0.5], dtype=torch.float64)
    torch.testing.assert_close(disagreement(votes, weights), torch.ones(2).double())
    same = torch.stack([sure, sure]).double()
    assert disagreement(same, weights).amax() < 1e-6
    light = disagreement(votes, torch.tensor([1.0, 0.01], dtype=torch.float64))
    assert light.amax() < 0.2
    assert disagreement(votes[:1], weights[:1]).tolist() == [0, 0]
    doubt = uncertainty(torch.tensor([[0.25] * 4, [1.0, 0, 0, 0], [0.5, 0.5, 0, 0]]))
    assert doubt.tolist() == pytest.approx([1, 0, 0.5])


def test_a_batch_does_not_say_one_thing_twice():
    generator = torch.Generator().manual_seed(0)
    centres = 5 * F.normalize(torch.randn(4, 16, generator=generator, dtype=torch.float64), dim=1)
    group = torch.arange(40) % 4
    noise = torch.randn(40, 16, generator=generator, dtype=torch.float64)
    features = centres[group] + 0.1 * noise
    doubt = torch.ones(40, dtype=torch.float64)
    doubt[group == 2] = 3.0
    places = [place for place, *_ in choose(features, doubt, features[:1], 3)]
    assert sorted(group[places].tolist()) == [1, 2, 3]  # not 0, which is labelled
    assert group[places[0]] == 2
