import json

from model.train.__main__ import main as train
from tests.support.own_tasks import write_labels, write_task


def test_comparing_prints_both_ways_for_every_share_and_makes_no_run_twice(folder, capsys):
    out = folder / "runs.json"
    command = [
        str(write_task(folder, "mood")), "--labels", str(write_labels(folder, "mood")),
        "--features", str(folder / "features"), "--bundle", str(folder / "bundle"),
        "--work", str(folder / "work"), "--seeds", "2", "--out", str(out),
    ]  # fmt: skip
    assert train(["compare", *command, "--fraction", "0.2"]) == 0
    first = json.loads(out.read_text())["runs"]
    assert len(first) == 4
    first[0]["metrics"]["val"]["top1"] = 5.0  # a run that was made again would not say so
    out.write_text(json.dumps({**json.loads(out.read_text()), "runs": first}))
    capsys.readouterr()
    assert train(["compare", *command, "--fraction", "0.2", "--fraction", "1"]) == 0
    runs = json.loads(out.read_text())["runs"]
    assert runs[:4] == first
    assert len(runs) == 8
    table = capsys.readouterr().out
    assert table.count("| top1 ↑ |") == 4  # two shares on val and on test
    assert "100% (18)" in table
