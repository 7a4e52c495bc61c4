import subprocess
import sys

import httpx
import pytest

import clients.__main__ as command
from clients.client import EgoPackClient
from clients.commands import doctor
from clients.doctor.findings import Finding
from clients.doctor.service import check_server


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
