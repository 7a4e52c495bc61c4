"""What code and pages say of the paper points at places that the paper has."""

import re

import pytest

from tests.project.docs.pages import ROOT

HAS = {
    r"\bSec\. ?(\d(?:\.\d+)*)": {"1", "2", "3", "3.1", "3.2", "3.3", "4", "4.1", "4.2", "4.3", "5"},
    r"\b[Ss]upplements? ([A-Z](?:\.\d+)*)": {"A", "A.1", "A.1.1", "B", "C", "D", "E"},
    r"\bTables? (\d+)": {str(n) for n in range(1, 8)},
    r"\bFigs?\. (\d+)": {str(n) for n in range(1, 8)},
    r"\beqs?\. ?(\d+)": {"1", "2", "3"},
}
"""How a place is referred to -> the numbers there are."""

FILES = [
    path
    for folder in ("model", "weights", "extract", "bench", "docs")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".md")
] + [ROOT / "README.md", ROOT / "CHANGELOG.md"]


@pytest.mark.parametrize("pattern", HAS)
def test_every_place_in_the_paper_that_is_named_exists(pattern):
    found = {
        (str(path.relative_to(ROOT)), number)
        for path in FILES
        for number in re.findall(pattern, path.read_text())
    }
    assert len({number for _, number in found}) > 1
    assert {(path, number) for path, number in found if number not in HAS[pattern]} == set()


def test_a_place_in_the_supplement_is_named_where_it_is_meant():
    vague = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in FILES
        if path.name != "differences.md"  # which introduces it
        for line in path.read_text().splitlines()
        if re.search(r"\bsupplement\b(?! [A-E]\b)", line)
    ]
    assert vague == []
