"""The command reads CSV, trains once, and prints every way; wrong input is named."""

import json
import random

import pytest

from model.train.__main__ import main

HEADER = "video_id,start_sec,end_sec,verb,noun\n"


def write(path, videos=8, length=26):
    coin = random.Random(0)
    rows = []
    for video in range(videos):
        own = [(coin.choice("abcd"), coin.choice("xyz")) for _ in range(2)]
        for step in range(length):
            verb, noun = own[step % 2]
            rows.append(f"v{video},{step},{step + 0.5},{verb},{noun}\n")
    path.write_text(HEADER + "".join(rows))
    return path


@pytest.mark.slow
def test_all_ways_are_on_both_tables_and_a_rerun_trains_nothing(tmp_path, capsys):
    data = write(tmp_path / "labels.csv")
    argv = ["forecast", str(data), "--work", str(tmp_path / "work"), "--samples", "6",
            "--threads", "1", "--every", "1", "--json", str(tmp_path / "figures.json")]  # fmt: skip
    assert main(argv) == 0
    text = capsys.readouterr().out
    for heading in ("2 observed", "whole past"):
        assert f"| {heading} | futures | verb ↓ | noun ↓ | action ↓ |" in text
    assert text.count("| sequence forecaster | set |") == 2
    assert text.count("| sequence forecaster (set) − repeat |") == 2
    assert text.count("| graph network (LTA) (set) − graph network (LTA) (independent) |") == 2
    assert text.count("| sequence forecaster at 1 | independent |") in (0, 2)
    figures = json.loads((tmp_path / "figures.json").read_text())
    whole = {(r["name"], r["choice"]): r["action_ed"] for r in figures["whole past"]}
    assert whole["repeat", ""] == 0  # every clip repeats its own two actions
    trained = [tmp_path / "work" / f"{name}.safetensors" for name in ("forecaster", "graph")]
    written = [path.stat().st_mtime_ns for path in trained]
    assert main([*argv, "--out", str(tmp_path / "again.md")]) == 0
    assert [path.stat().st_mtime_ns for path in trained] == written
    assert "| whole past |" in (tmp_path / "again.md").read_text()
    assert json.loads((tmp_path / "figures.json").read_text()) == figures


def test_what_cannot_be_read_or_is_too_short_ends_with_2(tmp_path, capsys):
    assert main(["forecast", str(tmp_path / "none.csv")]) == 2
    assert "no such file or folder" in capsys.readouterr().err
    data = write(tmp_path / "short.csv", length=21)
    assert main(["forecast", str(data), "--work", str(tmp_path)]) == 2
    assert "val: no video has 22 actions with a verb and a noun" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [["--samples", "4"], ["--every", "0"], ["--threads", "0"]])
def test_numbers_that_make_no_sense_are_refused(wrong, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["forecast", "labels.csv", *wrong])
    assert stop.value.code == 2
    assert wrong[0] in capsys.readouterr().err
