import importlib.metadata
import json
import subprocess
import sys
from collections import namedtuple

import httpx
import pytest

import clients.__main__ as command
from clients.client import EgoPackClient
from clients.commands import doctor
from clients.doctor import machine, packages
from clients.doctor.findings import Finding
from clients.doctor.service import check_server

Child = namedtuple("Child", "returncode stdout stderr")


def states(findings):
    return {finding.what: finding.state for finding in findings}


def test_this_installation_is_well():
    found = list(packages.check_packages(doctor.PYPROJECT))
    assert states(found) == dict.fromkeys(("python", "packages", "decord"), "well"), found


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


def test_libraries_are_looked_at_in_a_process_of_their_own(monkeypatch):
    found = list(machine.check_libraries())
    assert states(found) == dict.fromkeys(("video", "onnxruntime", "torch"), "well"), found

    for child, words in (
        (Child(-11, "", "Fatal: segfault"), "status -11"),
        (Child(0, json.dumps({"torch": {"error": "OSError: libcudart"}}), ""), "libcudart"),
        (Child(0, json.dumps({"av": {"ffmpeg": "8", "codecs": ["vp9"]}}), ""), "not h264"),
    ):
        monkeypatch.setattr(machine.subprocess, "run", lambda *_, child=child, **__: child)
        (finding,) = machine.check_libraries()
        assert (finding.state, words in finding.detail) == ("wrong", True)


def test_a_full_disk_is_noted_and_a_missing_folder_is_wrong(monkeypatch, tmp_path):
    monkeypatch.setenv("EGOPACK_SPOOL_DIR", str(tmp_path))
    monkeypatch.setenv("EGOPACK_MAX_SPOOL_MB", "0.001")
    assert machine.check_disk().state == "well"
    monkeypatch.setenv("EGOPACK_MAX_SPOOL_MB", "1e12")
    assert machine.check_disk().state == "note"
    monkeypatch.setenv("EGOPACK_SPOOL_DIR", str(tmp_path / "none"))
    assert machine.check_disk().state == "wrong"


def test_a_damaged_bundle_is_noticed(monkeypatch, tmp_path):
    assert machine.check_bundle().state == "well"
    monkeypatch.setenv("EGOPACK_BUNDLE", str(tmp_path))
    assert machine.check_bundle().state == "wrong"


@pytest.mark.parametrize(
    ("reply", "what", "words"),
    [
        (httpx.ConnectError("refused"), "server", "python -m server"),
        ((503, {"code": "starting", "detail": "loading"}), "server", "log says why"),
        ((401, {"code": "unauthenticated", "detail": "no"}), "key", "EGOPACK_API_KEY"),
        ((500, {"code": "internal", "request_id": "r7"}), "server", "r7"),
    ],
)
def test_a_server_that_would_not_answer_is_explained(reply, what, words, tmp_path):
    def handler(_):
        if isinstance(reply, Exception):
            raise reply
        return httpx.Response(reply[0], json=reply[1])

    transport = httpx.MockTransport(handler)
    with EgoPackClient("http://test", transport=transport, max_retries=0) as client:
        *_, finding = check_server(client, tmp_path)
    assert (finding.state, finding.what) == ("wrong", what)
    assert words in finding.advice


def test_the_exit_status_tells(monkeypatch, capsys):
    for state, status in (("well", 0), ("note", 0), ("wrong", 1)):
        finding = Finding("it", state, "is so")
        monkeypatch.setattr(doctor, "_findings", lambda _, finding=finding: iter([finding]))
        assert command.main(["doctor"]) == status
        assert "is so" in capsys.readouterr().out
    assert command.main(["doctor", "--server-only"]) == 2


def test_it_runs_where_everything_else_is_missing():
    blocked = {"httpx", "av", "PIL", "tqdm", "numpy", "torch", "packaging"}
    script = f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
from clients.__main__ import main
sys.exit(main(["doctor"]))
"""
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert child.returncode == 1, child.stderr
    assert "No module named 'packaging'" in child.stdout


def test_the_probe_needs_what_the_project_asks_for():
    named = {"av", "decord2", "faiss-cpu", "onnxruntime", "torch"}
    assert named <= {one.name for one in packages._requirements(doctor.PYPROJECT)[1]}
    assert importlib.metadata.version("packaging")
