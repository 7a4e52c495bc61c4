"""A data set is named by its kind and its place; anything else is told what there is."""

import re
from pathlib import Path

import pytest

from model.data.tables.kinds import KINDS, is_spec, load_table
from model.errors import AnnotationInvalid


@pytest.mark.parametrize("spec", ["tabel:x.csv", "labels.csv", "table:", "table", ":x"])
def test_an_unknown_kind_lists_all(spec):
    with pytest.raises(AnnotationInvalid) as error:
        load_table(spec)
    assert repr(spec) in str(error.value)
    assert ", ".join(KINDS) in str(error.value)


def test_an_option_without_use_is_refused(tmp_path):
    with pytest.raises(AnnotationInvalid, match="epic-kitchens data has no use for --fps"):
        load_table(f"epic-kitchens:{tmp_path}", fps=30.0)
    with pytest.raises(AnnotationInvalid, match="--fps: expected frames a second, more than 0"):
        load_table(f"cvat:{tmp_path}", fps=0.0)
    with pytest.raises(AnnotationInvalid, match="cvat data has no use for --overlaps"):
        load_table(f"cvat:{tmp_path}", fps=30.0, overlaps="allow")


def test_a_place_may_have_colons(tmp_path):
    path = tmp_path / "a:b.csv"
    path.write_text("video,start_s,end_s,verb\na,1,2,cut\n")
    assert len(load_table(f"table:{path}", overlaps="allow")) == 1
    assert is_spec(f"table:{path}")
    assert not is_spec(str(tmp_path))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_place_that_is_not_there_is_named(tmp_path, kind):
    options = {"fps": 30.0} if kind in ("cvat", "label-studio") else {}
    with pytest.raises(AnnotationInvalid) as error:
        load_table(f"{kind}:{tmp_path / 'nowhere'}", **options)
    assert str(tmp_path / "nowhere") in str(error.value)


PAGE = (Path(__file__).parents[4] / "docs" / "datasets.md").read_text(encoding="utf-8")


def test_the_page_has_a_row_for_every_kind_and_its_table_is_read(tmp_path):
    first = PAGE.partition("\n\n## ")[0]
    assert re.findall(r"(?m)^\| `([\w-]+)` \|", first) == list(KINDS)
    text = re.search(r"```csv\n(.*?)```", PAGE, re.DOTALL)[1]
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    table = load_table(f"table:{path}")
    assert table.videos == ("Küche 1", "day 2/clip")
    assert table.labels["hand"] == ("left", None, "right")
