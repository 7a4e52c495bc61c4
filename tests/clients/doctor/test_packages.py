import importlib.metadata

import pytest

from clients.commands import doctor
from clients.doctor import packages


def states(findings):
    return {finding.what: finding.state for finding in findings}


def test_this_installation_is_well():
    found = list(packages.check_packages(doctor.PYPROJECT))
    assert states(found) == dict.fromkeys(("python", "packages", "decord"), "well"), found


@pytest.mark.slow
def test_what_is_missing_or_does_not_fit_is_named_with_what_to_do(tmp_path):
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text(
        """
        [project]
        requires-python = ">=4"
        dependencies = ["httpx>=99", "no-such-package", "pywin32; sys_platform == 'win32'"]
        """
    )
    found = [str(one) for one in packages.check_packages(pyproject) if one.state == "wrong"]
    assert len(found) == 3
    for line, words in zip(found, (">=4", "httpx is", "no-such-package is not"), strict=True):
        assert words in line
        assert "-> " in line


@pytest.mark.parametrize("homes", [[], ["decord"], ["decord", "decord2"]])
def test_the_wrong_decord_is_noticed(homes):
    finding = packages._check_decord(homes)
    assert finding.state == "wrong"
    assert "decord2 alone" in finding.detail


def test_the_probe_needs_what_the_project_asks_for():
    named = {"av", "decord2", "faiss-cpu", "onnxruntime", "torch"}
    assert named <= {one.name for one in packages._requirements(doctor.PYPROJECT)[1]}
    assert importlib.metadata.version("packaging")
