"""The whole road: test files and features -> challenge files -> their metrics."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from model.score.__main__ import main
from model.score.answering import ChallengeAnswerer
from tests.model.support.challenge import TASKS, layouts, options, read_files, score, write_clips
from tests.support.factories import TINY, make_bundle
from tests.support.waiting import wait_for
from weights.bundle import save_bundle

REPOSITORY = Path(__file__).parents[3]


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
    answered = lambda: part.exists() and part.read_bytes().count(b"\n") > 1  # noqa: E731
    wait_for(lambda: answered() or process.poll() is not None)
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(tmp_path.glob("*.json"))
    assert 1 < len(part.read_bytes().splitlines()) < 25
    assert score(root, tmp_path) == 0
    assert read_files(tmp_path) == read_files(out)


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


def test_a_folder_that_is_no_data_root_is_refused(root, tmp_path, capsys):
    arguments = options(root, tmp_path / "out")
    arguments[1] = str(tmp_path)
    assert main(arguments) == 2
    assert "fho_lta_test_unannotated.json" in capsys.readouterr().err
