"""Checks of the versions of Python and of every required package."""

import importlib.metadata as metadata
import platform
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from clients.doctor.findings import Finding, well, wrong

PROJECT = "egopack-server"
INSTALL = "make install, or pip install -r requirements/run.txt"


def check_packages(pyproject: Path) -> Iterator[Finding]:
    """Yields the findings about Python and the packages that pyproject.toml requires.

    If there is no such file, the installed metadata is used.
    """
    python, requirements = _requirements(pyproject)
    version = platform.python_version()
    if python.contains(version):
        yield well("python", version)
    else:
        yield wrong("python", f"{version}, {python} is needed", "make the environment anew")
    faults = [fault for one in requirements if (fault := _fault(one)) is not None]
    yield from faults
    if not faults:
        yield well("packages", f"all {len(requirements)} as asked for")
    yield _check_decord(metadata.packages_distributions().get("decord", []))


def _requirements(pyproject: Path) -> tuple[SpecifierSet, list[Requirement]]:
    if pyproject.is_file():
        project = tomllib.loads(pyproject.read_text())["project"]
        python, lines = project["requires-python"], project["dependencies"]
    else:
        python = metadata.metadata(PROJECT)["Requires-Python"]
        lines = metadata.requires(PROJECT) or []
    every = [Requirement(line) for line in lines]
    return SpecifierSet(python), [
        one for one in every if one.marker is None or one.marker.evaluate({"extra": ""})
    ]


def _fault(requirement: Requirement) -> Finding | None:
    name = requirement.name
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return wrong("packages", f"{name} is not installed", INSTALL)
    if requirement.specifier.contains(version, prereleases=True):
        return None
    detail = f"{name} is {version}, {requirement.specifier} is needed"
    return wrong("packages", detail, INSTALL)


def _check_decord(homes: list[str]) -> Finding:
    """Two packages install `decord`; the old one reads fewer files, and other frames."""
    names = sorted(set(homes))
    if names == ["decord2"]:
        return well("decord", f"is decord2 {metadata.version('decord2')}")
    return wrong(
        "decord",
        f"comes from {' and '.join(names) or 'nowhere'}, decord2 alone is needed",
        "pip uninstall -y decord decord2, then pip install -r requirements/run.txt",
    )
