import sys

import pytest

import clients.local
from clients.client import EgoPackClient
from clients.errors import ServerFault, Unreachable
from clients.local import LocalServer, check_stopped

pytestmark = pytest.mark.service


def start(monkeypatch, *command, **options):
    """A LocalServer that runs another command than the server's."""
    popen = clients.local.subprocess.Popen

    def other(_, **keywords):
        return popen([sys.executable, *command], **keywords)

    monkeypatch.setattr(clients.local.subprocess, "Popen", other)
    return LocalServer(**options)


def test_a_server_is_started_used_and_stopped(monkeypatch):
    with start(monkeypatch, "-m", "tests.server.support.fakes") as server:
        assert server.start_s > 0
        with EgoPackClient(server.url) as client:
            assert client.models()[0].name == "fake"
    assert server.exit_code == 0
    check_stopped(server)
    with EgoPackClient(server.url) as client, pytest.raises(Unreachable):
        client.models()


def test_a_server_that_ends_at_once_is_reported_with_its_last_words(monkeypatch):
    words = "import sys; sys.exit('no bundle here')"
    with (
        pytest.raises(ServerFault, match="no bundle here"),
        start(monkeypatch, "-c", words),
    ):
        raise AssertionError("it cannot have started")


def test_a_server_that_says_nothing_is_given_up_and_ended(monkeypatch):
    silent = start(monkeypatch, "-c", "import time; time.sleep(60)", timeout_s=0.3)
    with pytest.raises(ServerFault, match="did not start"), silent:
        raise AssertionError("it cannot have started")
    assert silent.exit_code is not None


def test_a_bad_end_is_noticed():
    server = LocalServer()
    with pytest.raises(Unreachable):
        check_stopped(server)
    server.exit_code = -9
    with pytest.raises(ServerFault, match="-9"):
        check_stopped(server)
