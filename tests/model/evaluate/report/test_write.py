import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from model.evaluate.report.collect import answer_split
from model.evaluate.report.exhibits import (
    agreement_exhibits,
    calibration_exhibits,
    class_exhibits,
    closest_exhibits,
)
from model.evaluate.report.page import RunFacts
from model.evaluate.report.results import MeasureConfig, measure
from model.evaluate.report.write import write_csv, write_json, write_report
from model.tasks import FIXED_LABELS
from tests.factories import NUM_LABELS, TINY, make_skills
from tests.model.samples import make_split

HOSTILE = "<script>alert('$x_1$')</script>"
LABELS = {
    "verb": [f"verb{i}" for i in range(NUM_LABELS["verb"])],
    "noun": [HOSTILE, *(f"noun{i}" for i in range(1, NUM_LABELS["noun"]))],
    **FIXED_LABELS,
}
TEMPERATURE = {"ar.verb": 2.0}
FACTS = RunFacts("tiny", "1", "ab" * 32, "a made-up world", "python -m model.evaluate", "video")


@pytest.fixture(scope="module")
def answered():
    split = make_split(24, videos=4)
    return split, answer_split(make_skills(), split, TINY)


def make_exhibits(split, answers):
    skills = make_skills()
    backpacks = {task: skills.backpacks[name] for task, name in skills.backbone_of.items()}
    return [
        *calibration_exhibits(answers, TEMPERATURE),
        *class_exhibits(answers, split, LABELS),
        *agreement_exhibits(answers),
        *closest_exhibits(answers, split, backpacks, LABELS),
    ]


def make_result(split, answers, exhibits=(), **options):
    train = make_split(20, seed=9)
    how = MeasureConfig(TINY, TEMPERATURE, **options)
    return measure("val", answers, split, train, how, list(exhibits))


@pytest.fixture(scope="module")
def written(answered, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    split, answers = answered
    result = make_result(split, answers, make_exhibits(split, answers))
    told = []
    page = write_report(folder, FACTS, [result], progress=lambda: told.append(1))
    return folder, page.read_text(), result, answers, split, len(told)


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


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


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.seen, self.links = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.links += [v for k, v in attrs if k in ("href", "src")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_sound_and_asks_nobody_for_anything(written):
    folder, page, *_ = written
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert "script" not in tags.seen
    assert not re.search(r"url\(|@import|https?:", page)
    for link in tags.links:
        inside = link.startswith(("#", "data:image/png;base64,"))
        assert inside or (folder / link).is_file(), link


def test_labels_of_a_taxonomy_are_only_ever_text(written):
    _, page, *_ = written
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page


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


def test_the_figures_can_be_read_back(written):
    folder, _, result, *_ = written
    document = json.loads((folder / "metrics.json").read_text())
    assert document["run"]["sha256"] == FACTS.sha256
    found = document["splits"]["val"]
    assert found["model"] == result.columns["model"]
    assert set(found) == {"model", "chance", "frequency", "intervals", "per_batch"}
    low, high = found["intervals"]["ar"]["verb_top1"]
    assert low <= found["model"]["ar"]["verb_top1"] <= high


def test_the_same_run_writes_the_same_bytes(answered, written, tmp_path):
    folder, *_ = written
    write_report(tmp_path, FACTS, [make_result(*answered, make_exhibits(*answered))])
    files = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    for name in files:
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_the_paper_stands_beside_only_where_asked(answered, written, tmp_path):
    _, page, *_ = written
    assert "paper" not in page.replace("--paper", "")
    result = make_result(*answered, beside_paper=True, lta_windows="before-2023-08")
    assert "25.1 %" in write_report(tmp_path, FACTS, [result]).read_text()
    assert result.columns["paper"]["lta"]["noun_ed"] == 0.752


def test_an_interval_by_sample_is_another_one_and_batch_means_come_when_asked(answered):
    by_video = make_result(*answered)
    by_sample = make_result(*answered, resample="sample", per_batch=7)
    assert by_video.intervals["lta"] != by_sample.intervals["lta"]
    assert by_video.per_batch == {}
    assert set(by_sample.per_batch) == {"ar", "lta", "oscc", "pnr"}
    assert by_sample.per_batch["pnr"]["error_s"] != by_sample.columns["model"]["pnr"]["error_s"]


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


def test_an_empty_table_is_an_empty_file_and_nan_is_refused(tmp_path):
    write_csv(tmp_path / "a.csv", [])
    assert (tmp_path / "a.csv").read_bytes() == b""
    write_csv(tmp_path / "b.csv", [{"x": 1, "y": None}, {"x": 'say "a, b"', "y": 0.5}])
    assert (tmp_path / "b.csv").read_text() == 'x,y\n1,\n"say ""a, b""",0.5\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "c.json", {"x": float(np.nan)})
    assert not (tmp_path / "c.json").exists()


def test_calibration_rows_agree_with_the_figures_of_the_split(answered):
    split, answers = answered
    rows = {r["output"]: r for r in next(calibration_exhibits(answers, TEMPERATURE)).rows}
    model = make_result(split, answers).columns["model"]
    assert rows["ar.verb"]["ece_after"] == pytest.approx(model["ar"]["verb_ece"], abs=1e-6)
    assert rows["oscc.state"]["ece_before"] == pytest.approx(model["oscc"]["ece"], abs=1e-6)
    assert rows["lta.verb"]["answers"] == 24 * 20
    assert rows["pnr.keyframe"]["answers"] == 24
