"""The whole road: test files and features -> challenge files -> their metrics."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from extract.features.ids import id_of
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
from model.score.answering import ChallengeAnswerer
from tests.extract.clips import write_numbered
from tests.factories import TINY, make_bundle
from tests.model.challenge import (
    TASKS,
    layouts,
    make_challenge,
    options,
    read_files,
    score,
    write_clips,
)
from weights.bundle import load_bundle, save_bundle

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_challenge(tmp_path_factory.mktemp("challenge"))


@pytest.fixture(scope="module")
def out(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    assert score(root, folder) == 0
    return folder


def test_the_files_are_sound_and_in_the_layout_of_the_challenges(root, out):
    for task, layout in layouts(root).items():
        assert layout.read(out / f"{task}.json")[1] == []
    lta, oscc, pnr = (json.loads(data) for data in read_files(out).values())
    assert list(lta) == ["clip-a_7", "clip-a_8", "clip-a_9", "clip-a_10", "clip-b_7"]
    assert {len(lta["clip-a_7"]["verb"]), len(lta["clip-a_7"]["noun"])} == {5}
    assert [set(row) for row in oscc] == [{"unique_id", "state_change"}] * 24
    assert [row["unique_id"] for row in pnr] == [f"change-{i}" for i in range(24)]
    assert len({row["state_change"] for row in oscc}) == 2
    assert len({row["pnr_frame"] for row in pnr}) > 5


@pytest.mark.parametrize("batch_size", [1, 5])
def test_the_batch_size_moves_no_byte(root, out, tmp_path, batch_size):
    assert score(root, tmp_path, "--batch-size", str(batch_size)) == 0
    assert read_files(tmp_path) == read_files(out)


def test_an_answer_does_not_depend_on_what_else_is_asked(root, out, tmp_path):
    for stem in ("fho_lta", "fho_oscc-pnr"):
        rows = json.loads((root / f"v1/annotations/{stem}_test_unannotated.json").read_text())
        kept = [row for row in rows["clips"] if row["video_uid"] == "v1"]
        write_clips(tmp_path / "some" / f"{stem}_test_unannotated.json", kept)
    taxonomy = (root / "v1/annotations/fho_lta_taxonomy.json").read_bytes()
    (tmp_path / "some/fho_lta_taxonomy.json").write_bytes(taxonomy)
    arguments = options(root, tmp_path / "out")
    arguments[1] = str(tmp_path / "some")
    assert main(arguments) == 0
    for task, data in read_files(tmp_path / "out").items():
        some, everything = json.loads(data), json.loads((out / f"{task}.json").read_bytes())
        assert some
        if task == "lta":
            assert some.items() <= everything.items()
        else:
            assert all(row in everything for row in some)


def test_a_run_goes_on_after_any_interruption_and_ends_the_same(root, out, tmp_path, monkeypatch):
    parts = {task: (out / f"parts/{task}.jsonl").read_bytes() for task in TASKS}
    asked = []
    answer = ChallengeAnswerer.answer
    monkeypatch.setattr(
        ChallengeAnswerer, "answer", lambda self, *a: asked.append(len(a[1])) or answer(self, *a)
    )
    for share in (0.0, 0.3, 0.6, 0.97, 1.0):
        folder = tmp_path / str(share)
        (folder / "parts").mkdir(parents=True)
        for task, data in parts.items():
            (folder / f"parts/{task}.jsonl").write_bytes(data[: int(share * len(data))])
        asked.append(-1)
        assert score(root, folder) == 0
        assert read_files(folder) == read_files(out)
        assert {t: (folder / f"parts/{t}.jsonl").read_bytes() for t in TASKS} == parts
    assert asked[-1] == -1  # everything was there: nothing was computed
    assert sum(n for n in asked[: asked.index(-1, 1)] if n > 0) == 5 + 24 + 24


def test_a_finished_run_is_not_repeated_and_needs_no_features(root, out, tmp_path):
    before = read_files(out)
    arguments = options(root, out)
    arguments[arguments.index("--features") + 1] = str(root / "features")
    hidden = (root / "features").rename(tmp_path / "elsewhere")
    try:
        assert main(arguments) == 0
    finally:
        hidden.rename(root / "features")
    assert read_files(out) == before


def test_another_seed_starts_over_and_says_so(root, out, tmp_path, capsys):
    assert score(root, tmp_path) == 0
    assert "starts over" not in capsys.readouterr().err
    assert score(root, tmp_path, "--seed", "1") == 0
    assert "lta: starts over, changed: seed" in capsys.readouterr().err
    found, first = read_files(tmp_path), read_files(out)
    assert found["lta"] != first["lta"]
    assert found["oscc"] == first["oscc"]


def test_another_temperature_of_the_futures_starts_over_and_moves_only_them(
    root, out, tmp_path, capsys
):
    assert score(root, tmp_path) == 0
    assert score(root, tmp_path, "--future-temperature", "0.3") == 0
    assert "lta: starts over, changed: future_temperature" in capsys.readouterr().err
    found, first = read_files(tmp_path), read_files(out)
    assert found["lta"] != first["lta"]
    assert found["pnr"] == first["pnr"]
    assert score(root, tmp_path, "--future-temperature", "1") == 0
    assert read_files(tmp_path) == first


def test_a_model_that_normalises_over_its_batch_makes_the_batch_size_count(root, tmp_path, capsys):
    config = replace(TINY, norm="batch")  # D_IN is also the width of the bundle's encoder
    save_bundle(make_bundle(config), tmp_path / "bundle")
    arguments = options(root, tmp_path / "out")
    arguments[arguments.index("--bundle") + 1] = str(tmp_path / "bundle")
    for size in ("5", "7"):
        assert main([*arguments, "--batch-size", size]) == 0
    assert "oscc: starts over, changed: batch_size" in capsys.readouterr().err
    before = read_files(tmp_path / "out")
    part = tmp_path / "out/parts/pnr.jsonl"
    part.write_bytes(part.read_bytes()[:-200])
    assert main([*arguments, "--batch-size", "7"]) == 0
    assert read_files(tmp_path / "out") == before


def test_a_run_killed_half_way_ends_with_the_same_bytes(root, out, tmp_path):
    slowly = (
        "import sys, time\n"
        "from model.score.answering import ChallengeAnswerer\n"
        "from model.score.__main__ import main\n"
        "answer = ChallengeAnswerer.answer\n"
        "def slow(*a):\n    time.sleep(0.5); return answer(*a)\n"
        "ChallengeAnswerer.answer = slow\n"
        "raise SystemExit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", slowly, *options(root, tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(command, cwd=REPOSITORY, env=environment)
    part = tmp_path / "parts/oscc.jsonl"
    deadline = time.monotonic() + 120
    while not (part.exists() and part.read_bytes().count(b"\n") > 1):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(tmp_path.glob("*.json"))
    assert 1 < len(part.read_bytes().splitlines()) < 25
    assert score(root, tmp_path) == 0
    assert read_files(tmp_path) == read_files(out)


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


def test_fewer_observed_actions_ask_for_more_windows_and_keep_the_others(root, out, tmp_path):
    assert score(root, tmp_path, "--observed", "1", "--tasks", "lta") == 0
    found = json.loads((tmp_path / "lta.json").read_bytes())
    assert set(found) == {
        f"{clip}_{i}"
        for clip, n in (("clip-a", 11), ("clip-b", 8), ("clip-c", 7))
        for i in range(n)
    }
    assert json.loads((out / "lta.json").read_bytes()).items() <= found.items()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lta.json", "parts"]
    check = ["--annotations", str(root), "--check", str(tmp_path / "lta.json")]
    assert main([*check, "--observed", "1"]) == 0
    assert main(check) == 1


def test_checking_a_spoilt_file_names_the_id_and_fails(root, out, tmp_path, capsys):
    spoilt = tmp_path / "mine.json"
    rows = json.loads((out / "pnr.json").read_bytes())
    rows[3]["pnr_frame"] = float("nan")
    spoilt.write_text(json.dumps(rows))
    arguments = ["--annotations", str(root / "v1/annotations"), "--check", str(spoilt)]
    assert main(arguments) == 2  # mine.json could be anyone's
    assert "--tasks" in capsys.readouterr().err
    assert main([*arguments, "--tasks", "pnr"]) == 1
    assert "value: change-3: " in capsys.readouterr().err


def test_features_that_are_not_there_are_named_before_any_work(root, tmp_path, capsys):
    arguments = options(root, tmp_path)
    arguments[arguments.index("--features") + 1] = str(tmp_path / "empty")
    assert main(arguments) == 2
    assert "no features of 2 of 2 videos, v0 among them" in capsys.readouterr().err


def test_features_as_the_release_has_them_give_the_same_files(root, out, tmp_path):
    ours, theirs = FeatureStore(root / "features"), FeatureStore(tmp_path / "release")
    for video in ours.video_ids():
        theirs.write_bare(ours.read(video))
    arguments = options(root, tmp_path / "out")
    arguments[arguments.index("--features") + 1] = str(theirs.root)
    assert main(arguments) == 0
    assert read_files(tmp_path / "out") == read_files(out)


def test_missing_features_are_made_from_the_videos_once(root, tmp_path, capsys):
    annotations = tmp_path / "annotations"
    row = {"unique_id": "u", "video_uid": "numbered", "parent_start_sec": 0, "parent_end_sec": 3,
           "parent_start_frame": 0, "parent_end_frame": 90}  # fmt: skip
    write_clips(annotations / "fho_oscc-pnr_test_unannotated.json", [row])
    write_numbered(tmp_path / "numbered.mp4", 100)
    arguments = options(root, tmp_path / "out", "--tasks", "oscc,pnr")
    arguments[1] = str(annotations)
    arguments[arguments.index("--features") + 1] = str(tmp_path / "made")
    assert main(arguments) == 2
    assert main([*arguments, "--videos", str(tmp_path)]) == 0
    assert FeatureStore(tmp_path / "made").video_ids() == ["numbered"]
    assert json.loads((tmp_path / "out/oscc.json").read_bytes())[0]["unique_id"] == "u"
    assert main(arguments) == 0


def test_a_video_that_cannot_be_read_does_not_keep_the_others_from_it(root, tmp_path, capsys):
    videos = ["bad", "Küche 1", "also bad", "plain"]
    rows = [
        {"unique_id": f"u{k}", "video_uid": video, "parent_start_sec": 0, "parent_end_sec": 3,
         "parent_start_frame": 0, "parent_end_frame": 90}
        for k, video in enumerate(videos)
    ]  # fmt: skip
    annotations = tmp_path / "annotations"
    write_clips(annotations / "fho_oscc-pnr_test_unannotated.json", rows)
    for video in videos:
        (tmp_path / f"{video}.mp4").write_bytes(b"nothing")
    for video in ("Küche 1", "plain"):
        write_numbered(tmp_path / f"{video}.mp4", 100)
    arguments = options(root, tmp_path / "out", "--tasks", "oscc,pnr")
    arguments[1] = str(annotations)
    arguments[arguments.index("--features") + 1] = str(tmp_path / "made")
    arguments += ["--videos", str(tmp_path)]
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert "2 of 4 videos cannot be read" in told
    assert ("also bad.mp4" in told, "plain.mp4" in told) == (True, False)
    assert set(FeatureStore(tmp_path / "made").video_ids()) == {id_of("Küche 1"), "plain"}
    for video in ("bad", "also bad"):
        write_numbered(tmp_path / f"{video}.mp4", 100)
    assert main(arguments) == 0
    assert len(json.loads((tmp_path / "out/oscc.json").read_bytes())) == 4


@pytest.mark.parametrize(
    "wrong", [["--tasks", "ar"], ["--observed", "0"], ["--batch-size", "0"], ["--seed", "x"],
              ["--future-temperature", "0"], ["--future-temperature", "nan"]]
)  # fmt: skip
def test_senseless_options_are_refused(root, tmp_path, wrong):
    with pytest.raises(SystemExit) as stopped:
        score(root, tmp_path, *wrong)
    assert stopped.value.code == 2


def test_a_folder_that_is_no_data_root_is_refused(root, tmp_path, capsys):
    arguments = options(root, tmp_path / "out")
    arguments[1] = str(tmp_path)
    assert main(arguments) == 2
    assert "fho_lta_test_unannotated.json" in capsys.readouterr().err
