"""Labels that nobody gave: whatever reads labels does as if those samples were not there."""

import json
from dataclasses import replace

import editdistance
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.errors import BackpackInvalid
from model.evaluate.calibration import calibrate, collect_logits
from model.evaluate.metrics import anticipation_errors, batch_mean
from model.evaluate.report.collect import answer_split
from model.evaluate.report.exhibits import calibration_exhibits, class_exhibits, closest_exhibits
from model.evaluate.report.results import MeasureConfig, measure
from model.evaluate.scoring import score_logits
from model.evaluate.unseen import baselines
from model.nn.backpack import average_per_action
from model.tasks import AR, FIXED_LABELS, IGNORE, LTA, OSCC, PNR
from tests.model.support.samples import make_samples, make_split
from tests.model.support.unlabelled import KEPT, NUM, hide, of_output, places
from tests.support.factories import NUM_LABELS, TINY, make_skills
from weights.authors.taxonomy import count_actions

LABELS = {space: [f"{space}{i}" for i in range(NUM_LABELS[space])] for space in ("verb", "noun")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "output"), [(AR, "verb"), (AR, "noun"), (OSCC, "state"), (PNR, "keyframe")]
)
def test_figures_intervals_temperatures_and_tables_are_those_of_the_labelled_alone(
    split, spec, output
):
    found, models, train = [], make_skills().task_models(), make_split(20, seed=9)
    for samples in (hide(split[spec.name]), split[spec.name].take(places(KEPT[output]))):
        one = {spec.name: samples}
        logits, labels = collect_logits({spec.name: models[spec.name]}, one, TINY)
        fitted = calibrate(logits, labels)[f"{spec.name}.{output}"]
        answers, how = answer_split(make_skills(), one, TINY), MeasureConfig(TINY, {}, per_batch=7)
        result = measure("val", answers, one, train, how, [])
        skills = make_skills()
        backpacks = {task: skills.backpacks[name] for task, name in skills.backbone_of.items()}
        shown = [
            *calibration_exhibits(answers, {}),
            *class_exhibits(answers, one, LABELS | FIXED_LABELS),
            *closest_exhibits(answers, one, backpacks, LABELS | FIXED_LABELS),
        ]
        tables = {e.name: e.rows for e in shown if e.name.endswith(f".{output}")}
        assert tables
        found.append([
            fitted,
            *(of_output(f[spec.name], output) for f in result.columns.values()),
            of_output(result.intervals[spec.name], output),
            of_output(result.per_batch[spec.name], output),
            tables,
        ])  # fmt: skip
    hidden, absent = found
    assert hidden[1]
    assert hidden == absent


def test_samples_without_any_label_are_told_from_those_with_one(split):
    hidden = hide(split["ar"])
    kept = KEPT["verb"] | KEPT["noun"]
    assert hidden.labelled().names == [f"s{i}" for i in places(kept).tolist()]
    assert hide(split["pnr"]).labelled().names == [f"s{i}" for i in range(1, NUM, 2)]
    assert hidden.hidden == []
    bare = replace(hidden, labels={**hidden.labels, "noun": torch.full((NUM, 1), IGNORE)})
    assert bare.hidden == ["noun"]
    nothing = torch.zeros(0, dtype=torch.long)
    assert split["pnr"].take(nothing).hidden == ["keyframe"]


def test_prototypes_are_of_actions_with_both_labels():
    g = torch.Generator().manual_seed(3)
    views = {"ar": torch.randn(NUM, 8, generator=g), "pnr": torch.randn(NUM, 8, generator=g)}
    verb, noun = (torch.randint(3, (NUM,), generator=g) for _ in range(2))
    kept = KEPT["verb"] & KEPT["noun"]
    whole = {"verb": verb, "noun": noun}
    some = average_per_action(
        views, {name: torch.where(KEPT[name], ids, IGNORE) for name, ids in whole.items()}
    )
    alone = average_per_action(
        {t: v[kept] for t, v in views.items()}, {name: ids[kept] for name, ids in whole.items()}
    )
    pairs = set(zip(verb[kept].tolist(), noun[kept].tolist(), strict=True))
    assert set(zip(*(ids.tolist() for ids in some.labels.values()), strict=True)) == pairs
    assert some.count.sum() == kept.sum()
    assert torch.equal(some.count, alone.count)
    assert all(torch.equal(some.labels[name], alone.labels[name]) for name in whole)
    assert all(torch.equal(some.prototypes[t], alone.prototypes[t]) for t in views)
    with pytest.raises(BackpackInvalid, match="no labelled action"):
        average_per_action(views, {"verb": torch.full((NUM,), IGNORE), "noun": noun})


@settings(max_examples=60, deadline=None)
@given(data=st.data(), outputs=st.sampled_from([["verb"], ["verb", "noun"]]))
def test_steps_without_a_label_are_left_out_of_an_edit_distance(data, outputs):
    m, k, z = (data.draw(st.integers(1, top)) for top in (3, 3, 6))
    symbols = st.integers(0, 2)
    futures = {o: data.draw(arrays((m, k, z), symbols)) for o in outputs}
    truth = {o: data.draw(arrays((m, z), st.integers(-1, 2))) for o in outputs}
    errors = anticipation_errors(futures, truth)
    joint = {"action": outputs} if len(outputs) > 1 else {}
    for name, parts in {**{o: [o] for o in outputs}, **joint}.items():
        for i in range(m):
            steps = [s for s in range(z) if all(truth[p][i, s] >= 0 for p in parts)]
            right = [tuple(int(truth[p][i, s]) for p in parts) for s in steps]
            guesses = [
                [tuple(int(futures[p][i, j, s]) for p in parts) for s in steps] for j in range(k)
            ]
            curve = [
                min(editdistance.eval(g[:n], right[:n]) for g in guesses) / n
                for n in range(1, len(steps) + 1)
            ]
            if not curve:
                assert np.isnan(errors[f"{name}_ed"][i])
                assert np.isnan(errors[f"{name}_aued"][i])
                continue
            assert errors[f"{name}_ed"][i] == curve[-1]
            area = np.trapezoid(curve) / max(len(curve) - 1, 1)
            assert errors[f"{name}_aued"][i] == pytest.approx(area)


def arrays(shape, elements):
    size = int(np.prod(shape))
    return st.lists(elements, min_size=size, max_size=size).map(
        lambda values: torch.tensor(values).view(shape)
    )


def test_means_of_batches_leave_out_what_has_no_value():
    values = np.array([1.0, np.nan, 0.0, np.nan, 1.0])
    assert batch_mean(values, 2) == batch_mean(np.array([1.0, 0.0, 1.0]), 2) == 0.75


def test_futures_of_hidden_steps_are_scored_by_the_others():
    samples = make_samples(LTA, NUM)
    samples.labels["verb"][::2, 3:] = IGNORE
    samples.labels["noun"][:] = torch.where(torch.rand(NUM, 20) < 0.3, IGNORE, 1)
    one = {"lta": samples}
    logits, labels = collect_logits({"lta": make_skills().task_models()["lta"]}, one, TINY)
    found = score_logits(logits, labels, one, TINY, {})["lta"]
    assert all(np.isfinite(value) for value in found.values())
    for answer in baselines(one, one).values():
        assert set(answer["lta"]) == set(found)
        assert all(np.isfinite(value) for value in answer["lta"].values())


def test_a_metric_that_no_sample_has_is_left_out():
    samples = make_samples(LTA, NUM)
    samples.labels["verb"][:, ::2] = IGNORE
    samples.labels["noun"][:, 1::2] = IGNORE  # no step has both
    one = {"lta": samples}
    logits, labels = collect_logits({"lta": make_skills().task_models()["lta"]}, one, TINY)
    found = score_logits(logits, labels, one, TINY, {})["lta"]
    assert set(found) == {"verb_ed", "verb_aued", "noun_ed", "noun_aued", "samples"}


def test_pairs_are_counted_of_actions_with_both_labels(tmp_path):
    path = tmp_path / "fho_lta_train.json"
    pairs = [(0, 1), (None, 1), (0, None), (0, 1), (2, 0), (None, None)]
    path.write_text(json.dumps([{"verb_label": v, "noun_label": n} for v, n in pairs]))
    verb, noun, count = count_actions(path, {"verb": ["a", "b", "c"], "noun": ["d", "e"]})
    assert (verb.tolist(), noun.tolist(), count.tolist()) == ([0, 2], [1, 0], [2, 1])
