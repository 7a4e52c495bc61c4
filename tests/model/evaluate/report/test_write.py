import json

import numpy as np
import pytest

from model.evaluate.report.write import write_csv, write_json, write_report
from tests.model.evaluate.report.synthetic_report import FACTS, make_exhibits, make_result


def test_every_exhibit_is_a_file_and_stands_on_the_page(written):
    folder, page, result, _, _, told = written
    assert told == len(result.exhibits)
    names = {e.name for e in result.exhibits}
    assert names >= {"calibration", "reliability-pnr.keyframe", "confusion-ar.verb", "agreement",
                     "classes-ar.noun", "confused-oscc.state", "closest-oscc.state",
                     "closest-ar.noun"}  # fmt: skip
    for exhibit in result.exhibits:
        assert (folder / "val" / f"{exhibit.name}.csv").stat().st_size > 0
        assert exhibit.title in page
        if exhibit.figure:
            image = folder / "val" / f"{exhibit.name}.png"
            assert image.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert not list(folder.rglob("*.tmp"))


def test_the_figures_can_be_read_back(written):
    folder, _, result, *_ = written
    document = json.loads((folder / "metrics.json").read_text())
    assert document["run"]["sha256"] == FACTS.sha256
    found = document["splits"]["val"]
    assert found["model"] == result.columns["model"]
    assert set(found) == {"model", "chance", "frequency", "intervals", "per_batch"}
    low, high = found["intervals"]["ar"]["verb_top1"]
    assert low <= found["model"]["ar"]["verb_top1"] <= high


@pytest.mark.slow
def test_the_same_run_writes_the_same_bytes(answered, written, tmp_path):
    folder, *_ = written
    write_report(tmp_path, FACTS, [make_result(*answered, make_exhibits(*answered))])
    files = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    for name in files:
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_an_empty_table_is_an_empty_file_and_nan_is_refused(tmp_path):
    write_csv(tmp_path / "a.csv", [])
    assert (tmp_path / "a.csv").read_bytes() == b""
    write_csv(tmp_path / "b.csv", [{"x": 1, "y": None}, {"x": 'say "a, b"', "y": 0.5}])
    assert (tmp_path / "b.csv").read_text() == 'x,y\n1,\n"say ""a, b""",0.5\n'
    labels = ["=1+1", "+cmd", "-a", "@x", "\t=1", "-2.5", "+1e3", "x\r=1"]
    write_csv(tmp_path / "d.csv", [{"=x": label, "y": -0.5} for label in labels])
    lines = (tmp_path / "d.csv").read_text().splitlines()
    assert lines[0] == "'=x,y"
    cells = [line.split(",") for line in lines[1:]]
    assert [cell[0] for cell in cells] == [
        "'=1+1",
        "'+cmd",
        "'-a",
        "'@x",
        "'\t=1",
        "-2.5",
        "+1e3",
        "x =1",
    ]
    assert {cell[1] for cell in cells} == {"-0.5"}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "c.json", {"x": float(np.nan)})
    assert not (tmp_path / "c.json").exists()
