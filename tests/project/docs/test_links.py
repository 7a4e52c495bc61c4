"""Every link of the documents leads somewhere."""

import re
import unicodedata
from pathlib import Path

import pytest

from docsite.hooks import GENERATED
from tests.project.docs.pages import PAGES, ROOT, name_of

LINK = re.compile(r"(?<!`)!?\[[^\]]*\]\(([^)\s]+)\)|<img[^>]* src=\"([^\"]+)\"")
HEADING = re.compile(r"^#{1,6} +(.+?) *$", re.MULTILINE)
FENCED = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)


def links_of(path):
    """Yields what a page links to and shows of this project."""
    for found in LINK.finditer(FENCED.sub("", path.read_text())):
        target = found[1] or found[2]
        if not re.match(r"[a-z]+:", target):
            yield target


def anchors_of(path):
    """Returns the anchors of a page's headings, as GitHub and Python-Markdown both make them."""
    headings = HEADING.findall(FENCED.sub("", path.read_text()))
    return {anchor_of(re.sub(r"[`*]|\]\([^)]*\)|\[", "", heading)) for heading in headings}


def anchor_of(heading):
    plain = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_to_a_file_and_a_heading(page):
    astray = []
    for target in links_of(page):
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if is_generated(path):
            continue
        is_there = path.exists() and path.is_relative_to(ROOT)
        if not is_there or (anchor and path.suffix == ".md" and anchor not in anchors_of(path)):
            astray.append(target)
    assert astray == []


def is_generated(path: Path) -> bool:
    docs = ROOT / "docs"
    return path.is_relative_to(docs) and str(path.relative_to(docs)) in GENERATED


def test_a_page_links_to_generated_ones_only_from_the_site():
    """They are made with the site: a reader of the repository would miss them."""
    for target in links_of(ROOT / "README.md"):
        assert not is_generated((ROOT / target.partition("#")[0]).resolve()), target


@pytest.mark.parametrize("page", [p for p in PAGES if (ROOT / "docs") in p.parents], ids=name_of)
def test_a_page_of_the_site_links_to_nothing_outside_it(page):
    docs = ROOT / "docs"
    outside = [
        target
        for target in links_of(page)
        if target.partition("#")[0] and not (page.parent / target).resolve().is_relative_to(docs)
    ]
    assert outside == []
