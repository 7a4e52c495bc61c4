"""Options of the training commands that nothing would look at end them before any work."""

import pytest

from model.train.__main__ import main

BY_NAME = ("--data", "table:labels.csv")


@pytest.fixture
def world(tmp_path):
    """What tells a tabletop world from a data set, and nothing more."""
    (tmp_path / "world.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--preset", "authors"], "--preset: for data in Ego4D's layout"),
        (["--lta-windows", "current"], "--lta-windows: for data in Ego4D's layout"),
        (["--features", "set", "--version", "v1"], "--version, --features: for data"),
        (["--missing", "skip"], "--missing: for data in Ego4D's layout"),
        (["--smoke", "--data", "ROOT"], "--smoke: makes a world of its own"),
        (["--method", "mtl", "--protocol", "paper"], "--protocol: of --method egopack alone"),
        (["--method", "egopack-shared", "--protocol", "paper"], "--protocol: of --method egopack"),
        (["--forecaster", "--tasks", "ar", "pnr"], "--forecaster: looks back on AR"),
        (["--tasks", "ar", "dance"], "--tasks: expected of ar, lta, oscc, pnr, got dance"),
        (["--videos", "DIR", "--rare", "drop"], "--videos, --rare: for --data by name alone"),
        (["--data", "tabel:x.csv"], "KIND:ROOT has one of the kinds table, epic-kitchens"),
        ([*BY_NAME], "--data by name needs features"),
        ([*BY_NAME, "--videos", "DIR"], "an encoder makes their features; name one"),
        ([*BY_NAME, "--features", "DIR", "--version", "v1"], "--version: for data in Ego4D's"),
        ([*BY_NAME, "--features", "DIR", "--rare-below", "0"], "--rare-below: expected 1 or more"),
        ([*BY_NAME, "--features", "DIR", "--smoke"], "--smoke: makes a world of its own"),
    ],
)
def test_train_refuses_what_it_would_ignore(options, said, capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        main([*options, "--work", str(tmp_path)])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--set", "fit.tune_heads=true"], "it needs skills with backbones of their own"),
        (["--set", "fit.tune_backbone=true"], "it needs skills with backbones of their own"),
        (["--set", "input_size=8"], "read off the features"),
        (["--set", "hidden_size=7"], "even number"),
        (["--set", "fit.epochs=0"], "at least 1"),
    ],
)
def test_settings_are_looked_at_before_any_work(options, said, tmp_path, world, capsys):
    work = tmp_path / "work"
    assert main([*options, "--work", str(work)]) == 1
    assert said in capsys.readouterr().err
    assert not work.exists()
    methods = ["--methods", "egopack-shared"] if "tune" in options[1] else []
    reproduce = ["reproduce", "--data", str(world), "--work", str(work)]
    assert main([*reproduce, *methods, *options]) == 2
    assert said in capsys.readouterr().err
    assert not work.exists()


def test_the_papers_tables_are_not_of_a_table(capsys):
    with pytest.raises(SystemExit):
        main(["reproduce", *BY_NAME])
    assert "the paper's tables are of its four tasks" in capsys.readouterr().err
