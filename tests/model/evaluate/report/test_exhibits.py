import csv
from dataclasses import replace

import pytest

from model.evaluate.report.exhibits import (
    agreement_exhibits,
    calibration_exhibits,
    closest_exhibits,
)
from tests.model.evaluate.report.synthetic_report import LABELS, TEMPERATURE, make_result
from tests.support.factories import TINY


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_numbers_in_the_tables_are_those_of_the_answers(written):
    folder, _, result, answers, split, _ = written
    rows = {(r["task"], r["metric"]): r for r in table(folder / "val" / "metrics.csv")}
    assert float(rows["pnr", "error_s"]["value"]) == result.columns["model"]["pnr"]["error_s"]
    assert rows["ar", "verb_top1"]["samples"] == "24"
    assert rows["ar", "verb_ece"]["low"] == ""
    truth, decided = (answers["ar"].labels["verb"][:, 0],
                      answers["ar"].decisions["verb"]["fused"][:, 0])  # fmt: skip
    for row in table(folder / "val" / "classes-ar.verb.csv"):
        assert int(row["support"]) == int((truth == int(row["id"])).sum())
        assert int(row["decided"]) == int((decided == int(row["id"])).sum())
    agreed = {(r["task"], r["output"], r["vote"], r["other"]): float(r["agreement"])
              for r in table(folder / "val" / "agreement.csv")}  # fmt: skip
    said = answers["oscc"].decisions["state"]
    same = (said["own"] == said["fused"]).double().mean()
    assert agreed["oscc", "state", "own", "fused"] == pytest.approx(float(same))
    retrieved = table(folder / "val" / "closest-oscc.state.csv")
    assert sum(int(r["count"]) for r in retrieved) == 3 * 24 * 4 * TINY.num_neighbours
    assert len(split["oscc"]) == 24


def test_a_skill_with_only_its_own_head_has_nobody_to_agree_with(answered):
    split, answers = answered
    alone = {
        task: replace(
            said,
            decisions={o: {w: by[w] for w in ("own", "fused")} for o, by in said.decisions.items()},
            rows={},
        )
        for task, said in answers.items()
    }
    assert list(agreement_exhibits(alone)) == []
    assert list(closest_exhibits(alone, split, {}, LABELS)) == []


def test_calibration_rows_agree_with_the_figures_of_the_split(answered):
    split, answers = answered
    rows = {r["output"]: r for r in next(calibration_exhibits(answers, TEMPERATURE)).rows}
    model = make_result(split, answers).columns["model"]
    assert rows["ar.verb"]["ece_after"] == pytest.approx(model["ar"]["verb_ece"], abs=1e-6)
    assert rows["oscc.state"]["ece_before"] == pytest.approx(model["oscc"]["ece"], abs=1e-6)
    assert rows["lta.verb"]["answers"] == 24 * 20
    assert rows["pnr.keyframe"]["answers"] == 24
