"""Labels that nobody gave: whatever reads labels does as if those samples were not there."""

import json
from dataclasses import replace

import editdistance
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.data.annotations import DataRoot
from model.errors import BackpackInvalid
from model.evaluate.calibration import calibrate, collect_logits, competing, fit_temperature
from model.evaluate.metrics import anticipation_errors, batch_mean
from model.evaluate.report.collect import answer_split
from model.evaluate.report.exhibits import calibration_exhibits, class_exhibits, closest_exhibits
from model.evaluate.report.results import MeasureConfig, measure
from model.evaluate.scoring import score_logits
from model.evaluate.unseen import baselines
from model.nn.backpack import average_per_action
from model.score.grade import grade
from model.tasks import AR, FIXED_LABELS, IGNORE, LTA, OSCC, PNR
from model.train.methods.losses import output_loss
from model.train.methods.stages import fill_backpack
from tests.factories import NUM_LABELS, TINY, make_skills
from tests.model.challenge import make_challenge, write_clips
from tests.model.samples import make_samples, make_split
from weights.authors.taxonomy import count_actions

NUM = 30
LABELS = {space: [f"{space}{i}" for i in range(NUM_LABELS[space])] for space in ("verb", "noun")}
KEPT = {  # output -> samples that keep their label
    "verb": torch.arange(NUM) % 3 > 0,
    "noun": torch.arange(NUM) % 5 > 1,
    "state": torch.arange(NUM) % 4 > 0,
    "keyframe": torch.arange(NUM) % 2 > 0,
}


def places(mask):
    return mask.nonzero().squeeze(1)


def hide(samples):
    """Takes each output's label away from the samples that do not keep it."""
    labels = {
        name: torch.where(KEPT[name].unsqueeze(1), values, IGNORE)
        for name, values in samples.labels.items()
    }
    pnr_frame = samples.pnr_frame
    if pnr_frame is not None:
        pnr_frame = torch.where(KEPT["keyframe"], pnr_frame, torch.nan)
    return replace(samples, labels=labels, pnr_frame=pnr_frame)


def of_output(figures, output):
    """The figures of one output: all but the number of samples, where a task has only one."""
    own = {n: v for n, v in figures.items() if n != "samples"}
    return {n: v for n, v in own.items() if n.startswith(f"{output}_")} or own


@pytest.fixture(scope="module")
def split():
    return {task: s for task, s in make_split(NUM).items() if task != "lta"}


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


@pytest.mark.parametrize("task", ["ar", "oscc", "pnr"])
def test_baselines_count_the_labels_there_are(split, task):
    train = {task: make_samples(split[task].spec, NUM, seed=7)}
    for output in train[task].spec.outputs:
        few = {task: train[task].take(places(KEPT[output]))}
        hidden = baselines({task: hide(train[task])}, {task: split[task]})
        absent = baselines(few, {task: split[task]})
        for way in ("chance", "frequency"):
            assert of_output(hidden[way][task], output) == of_output(absent[way][task], output)


def test_baselines_of_a_task_that_training_never_labels_are_left_out(split):
    bare = replace(split["oscc"], labels={"state": torch.full((NUM, 1), IGNORE)})
    found = baselines({"ar": split["ar"], "oscc": bare}, {t: split[t] for t in ("ar", "oscc")})
    assert {way: set(tasks) for way, tasks in found.items()} == {
        "chance": {"ar"},
        "frequency": {"ar"},
    }


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


@pytest.mark.parametrize("labels", [1, 4])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_that_of_the_labelled_alone_and_zero_without_any(labels, smoothing):
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 3, labels, generator=g, requires_grad=True)
    target = torch.randint(max(labels, 2), (6, 3), generator=g)
    kept = torch.tensor([0, 2, 5])
    alone = output_loss(logits[kept], target[kept], smoothing=smoothing)
    hidden = torch.full_like(target, IGNORE)
    hidden[kept] = target[kept]
    torch.testing.assert_close(output_loss(logits, hidden, smoothing=smoothing), alone)
    nothing = output_loss(logits, torch.full_like(target, IGNORE), smoothing=smoothing)
    nothing.backward()
    assert nothing.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_prototypes_are_of_actions_with_both_labels():
    g = torch.Generator().manual_seed(3)
    views = {"ar": torch.randn(NUM, 8, generator=g), "pnr": torch.randn(NUM, 8, generator=g)}
    verb, noun = (torch.randint(3, (NUM,), generator=g) for _ in range(2))
    kept = KEPT["verb"] & KEPT["noun"]
    some = average_per_action(
        views, torch.where(KEPT["verb"], verb, IGNORE), torch.where(KEPT["noun"], noun, IGNORE)
    )
    alone = average_per_action({t: v[kept] for t, v in views.items()}, verb[kept], noun[kept])
    pairs = set(zip(verb[kept].tolist(), noun[kept].tolist(), strict=True))
    assert set(zip(some.verb_id.tolist(), some.noun_id.tolist(), strict=True)) == pairs
    assert some.count.sum() == kept.sum()
    for field in ("verb_id", "noun_id", "count"):
        assert torch.equal(getattr(some, field), getattr(alone, field))
    assert all(torch.equal(some.prototypes[t], alone.prototypes[t]) for t in views)
    with pytest.raises(BackpackInvalid, match="no labelled action"):
        average_per_action(views, torch.full((NUM,), IGNORE), noun)


def test_the_backpack_of_a_split_with_hidden_labels_has_no_pair_never_seen(split):
    model = make_skills().models["shared"]
    hidden = hide(split["ar"])
    pack = fill_backpack(model, hidden)
    both = KEPT["verb"] & KEPT["noun"]
    labels = (split["ar"].labels[name][both, 0].tolist() for name in ("verb", "noun"))
    seen = set(zip(*labels, strict=True))
    assert set(zip(pack.verb_id.tolist(), pack.noun_id.tolist(), strict=True)) == seen


def test_a_temperature_is_fitted_on_the_labelled_alone():
    g = torch.Generator().manual_seed(1)
    logits = torch.randn(NUM, 4, 3, generator=g)
    labels = torch.randint(3, (NUM, 4), generator=g)
    labels[::2, 1] = IGNORE
    rows, truth = competing(logits, labels)
    assert len(rows) == len(truth) == int((labels != IGNORE).sum())
    expected = fit_temperature(logits[labels != IGNORE], labels[labels != IGNORE])
    assert fit_temperature(rows, truth) == expected


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


def test_grading_leaves_out_what_the_truth_does_not_tell(tmp_path):
    root = make_challenge(tmp_path)
    data = DataRoot(root)
    path = root / "hidden" / "fho_oscc-pnr_test.json"
    rows = json.loads(path.read_text())["clips"]
    answers = {row["unique_id"]: True for row in rows}
    right = sum(row["state_change"] for row in rows[4:]) / len(rows[4:])
    for row in rows[:4]:
        row["state_change"] = None
    write_clips(path, rows)
    assert grade("oscc", answers, data) == {"accuracy": right, "samples": float(len(rows) - 4)}
    path = root / "hidden" / "fho_lta_test.json"
    rows = json.loads(path.read_text())["clips"]
    for row in rows:
        if row["action_idx"] % 3:
            row["verb_label"] = None
    write_clips(path, rows)
    future = {head: [[0] * 20] * 5 for head in ("verb", "noun")}
    found = grade("lta", {"clip-a_7": future}, data)
    truth = [
        row["verb_label"]
        for row in sorted(rows, key=lambda row: row["action_idx"])
        if row["clip_uid"] == "clip-a" and 7 < row["action_idx"] <= 27 and row["action_idx"] % 3 < 1
    ]
    assert found["verb_ed"] == sum(verb != 0 for verb in truth) / len(truth)


def test_pairs_are_counted_of_actions_with_both_labels(tmp_path):
    path = tmp_path / "fho_lta_train.json"
    pairs = [(0, 1), (None, 1), (0, None), (0, 1), (2, 0), (None, None)]
    path.write_text(json.dumps([{"verb_label": v, "noun_label": n} for v, n in pairs]))
    verb, noun, count = count_actions(path, {"verb": ["a", "b", "c"], "noun": ["d", "e"]})
    assert (verb.tolist(), noun.tolist(), count.tolist()) == ([0, 2], [1, 0], [2, 1])
