"""The notices and the SBOM are of what the requirements pin."""

import json
import platform
import re
import sys
import tomllib

import pytest
from packaging.utils import canonicalize_name

from docsite.notices import NOTICES, ROOT, SBOM, installed, notices, pinned, sbom

OURS = (
    sys.version_info[:2] == (3, 11) and sys.platform == "linux" and platform.machine() == "x86_64"
)
PINNED = pinned()
AGAIN = "not up to date: run `make notices`"


def test_both_list_what_is_pinned_and_nothing_else():
    table = NOTICES.read_text().partition("## Packages")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| ([a-z0-9-]+) \| (\S+) \|", table, re.M))
    rows.pop("package", None)
    assert rows == PINNED, AGAIN
    components = json.loads(SBOM.read_text())["components"]
    assert {one["name"]: one["version"] for one in components} == PINNED, AGAIN


@pytest.mark.skipif(not OURS, reason="made on the image's platform")
@pytest.mark.slow(2)
def test_both_are_what_the_command_would_write_now():
    packages = installed()
    assert NOTICES.read_text() == notices(packages), AGAIN
    assert SBOM.read_text() == sbom(packages), AGAIN


def test_the_sbom_is_whole():
    document = json.loads(SBOM.read_text())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    assert re.fullmatch("urn:uuid:[0-9a-f-]{36}", document["serialNumber"])
    refs = [one["bom-ref"] for one in document["components"]]
    root = document["metadata"]["component"]["bom-ref"]
    assert len(set(refs)) == len(refs)
    edges = {one["ref"]: one["dependsOn"] for one in document["dependencies"]}
    assert set(edges) == {root, *refs}
    assert set().union(*edges.values()) <= set(refs)
    reached, todo = set(), [root]
    while todo:
        new = set(edges[todo.pop()]) - reached
        reached |= new
        todo += new
    # Nothing is there that nothing asks for, and all that we ask for is there.
    assert reached == set(refs)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {canonicalize_name(re.split(r"[^\w-]", line)[0]) for line in project["dependencies"]}
    assert len(edges[root]) == len(asked)


@pytest.mark.parametrize(
    ("package", "library"), [("av", "libx264"), ("av", "libx265"), ("decord2", "libx264")]
)
def test_what_obliges_is_named(package, library):
    (found,) = [one for one in json.loads(SBOM.read_text())["components"] if one["name"] == package]
    inside = {one["name"]: one.get("licenses") for one in found["components"]}
    assert inside[library] == [{"expression": "GPL-2.0-or-later"}]
    for page in (NOTICES, ROOT / "SECURITY.md"):
        for name in (package, library, "psycopg", "NVIDIA"):
            assert name in page.read_text()
