"""The site: its reference is complete, it builds without a warning, and it asks nobody else."""

import os
import re
import subprocess
import sys

import pytest

from docsite import http, settings
from docsite.hooks import GENERATED
from docsite.notebooks import pages as notebook_pages
from server.api.app import create_app
from server.settings.settings import Settings
from tests.project.docs.pages import PAGES, ROOT
from tests.project.docs.test_links import anchor_of

ELSEWHERE = re.compile(r'<(?:script|img|iframe|source)[^>]+src="(?:https?:)?//|url\((?:https?:)?//')
STYLESHEET = re.compile(r'<link[^>]+rel="(?:stylesheet|preconnect|icon)"[^>]+href="(?:https?:)?//')


@pytest.fixture(scope="module")
def api_page():
    return http.page()


def test_every_operation_and_body_is_in_the_reference(api_page):
    api = create_app(Settings()).openapi()
    for path, methods in api["paths"].items():
        for method in methods:
            assert f"### {method.upper()} {path}\n" in api_page
    for name in api["components"]["schemas"]:
        assert f"### {name}\n" in api_page


def test_types_in_the_reference_link_to_their_bodies(api_page):
    linked = set(re.findall(r"\]\(#([^)]+)\)", api_page))
    headings = {anchor_of(h) for h in re.findall(r"(?m)^#+ (.+)$", api_page)}
    assert linked
    assert linked - headings == set()


def test_tables_in_the_reference_keep_their_shape(api_page):
    """A stray bar in a description would push a cell out of its row."""
    for text in (api_page, settings.page()):
        for table in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
            bars = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
            assert len(bars) == 1, table


def test_every_setting_is_in_the_reference():
    page = settings.page()
    for name, field in Settings.model_fields.items():
        assert f"| `EGOPACK_{name.upper()}` |" in page
        assert field.description, name


def test_every_page_has_its_place():
    """A page that the navigation forgets is one that nobody finds."""
    listed = set(re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    docs = ROOT / "docs"
    written = {str(page.relative_to(docs)) for page in PAGES if docs in page.parents}
    written |= {*GENERATED, *(place for place, _ in notebook_pages())}
    assert listed == written


@pytest.mark.slow
def test_the_site_builds_and_asks_nobody_else(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    ran = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    built = [*tmp_path.rglob("*.html"), *tmp_path.rglob("*.css")]
    assert len(built) > 20
    for path in built:
        text = path.read_text()
        assert not ELSEWHERE.search(text), path
        assert not STYLESHEET.search(text), path
