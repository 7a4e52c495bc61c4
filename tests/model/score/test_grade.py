import json

import pytest
import torch

from extract.features.store import FeatureStore
from model.config import ModelConfig
from model.data.annotations import DataRoot
from model.data.samples import Tracks
from model.data.task_samples import anticipation_samples, change_samples, keyframe_samples
from model.evaluate.calibration import collect_logits
from model.evaluate.metrics import anticipation_errors, keyframe_error_s
from model.nn.skill_set import build_skills
from model.predict.futures import sample_futures, seed_of
from model.score.__main__ import main
from model.score.grade import grade
from tests.model.support.challenge import TASKS, layouts, make_challenge, write_clips
from weights.bundle import load_bundle


def test_metrics_of_the_files_are_those_of_the_evaluation(root, out, capsys):
    """Recomputed in float32 from all samples at once; sampling differs only by its seeds."""
    files = [str(out / f"{task}.json") for task in TASKS]
    truth = ["--truth", str(root)]
    assert main(["--annotations", str(root), "--check", *files, *truth]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    metrics = {line["task"]: line["metrics"] for line in lines}

    data, bundle = DataRoot(root), load_bundle(root / "bundle")
    store = FeatureStore(root / "features")
    tracks = Tracks.join([store.read(video) for video in ("v0", "v1")])
    changes = data.changes("test")
    samples = {
        "lta": anticipation_samples(data.actions("test"), tracks),
        "oscc": change_samples(changes, tracks),
        "pnr": keyframe_samples(changes, tracks),
    }
    config = ModelConfig.from_dict(bundle.manifest.model)
    models = build_skills(bundle).task_models()
    logits, labels = collect_logits({t: models[t] for t in samples}, samples, config)

    right = logits["oscc"]["state"][:, 0].argmax(1) == labels["oscc"]["state"][:, 0]
    assert metrics["oscc"] == {"accuracy": float(right.double().mean()), "samples": 24.0}

    positives = [c for c in changes if c.state_change]
    columns = {
        name: torch.tensor([getattr(c, name) for c in positives], dtype=torch.float64).numpy()
        for name in ("start_frame", "end_frame", "pnr_frame", "start_s", "end_s")
    }
    node = logits["pnr"]["keyframe"][:, :, 0].argmax(1).double().numpy()
    error_s = keyframe_error_s(node, num_nodes=16, **columns)
    assert metrics["pnr"] == {"error_s": float(error_s.mean()), "samples": float(len(positives))}

    asked = [q.id for q in layouts(root)["lta"].items]
    places = [samples["lta"].names.index(name) for name in asked]
    drawn = [
        sample_futures(
            {name: values[p] for name, values in logits["lta"].items()},
            config=config,
            seed=seed_of(0, samples["lta"].names[p]),
        )
        for p in places
    ]
    told = {name: values[places] for name, values in labels["lta"].items()}
    errors = anticipation_errors(
        {name: torch.stack([d[name] for d in drawn]) for name in told}, told
    )
    expected = {name: pytest.approx(values.mean()) for name, values in errors.items()}
    assert metrics["lta"] == {**expected, "samples": 5.0}
    assert len(samples["lta"]) > len(asked)  # evaluation begins at the second action


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
