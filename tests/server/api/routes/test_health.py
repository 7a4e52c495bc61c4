import errno
import threading

import pytest

from tests.server.conftest import assert_problem
from tests.server.support.fakes import clip
from tests.support.waiting import PATIENCE_S, wait_for


def test_before_it_is_ready_it_lives_but_takes_no_clips(serve):
    gate = threading.Event()
    served = serve(gate=gate)
    assert_problem(served.http.get("/readyz"), 503, "starting")
    assert_problem(served.post(clip()), 503, "starting")
    assert served.http.get("/livez").json() == {"status": "alive"}
    assert served.http.get("/v1/limits").status_code == 200
    gate.set()
    served.wait_ready()
    assert served.post(clip()).status_code == 200


def test_while_it_stops_it_takes_no_clips(served):
    served.engine.life.drain()
    assert_problem(served.http.get("/readyz"), 503, "draining")
    assert_problem(served.post(clip()), 503, "draining")
    assert served.http.get("/livez").status_code == 200


JOBS_OK = {"store": "ok", "files": "ok"}


def test_a_verbose_probe_says_what_readiness_rests_on(served):
    assert served.http.get("/readyz").json() == {"status": "ready"}
    assert served.http.get("/readyz", params={"verbose": "1"}).json() == {
        "status": "ready",
        "checks": {"state": "ready", "canary": "ok", "reload": "none", "spool": "ok"} | JOBS_OK,
    }
    served.engine.life.is_healthy = False
    assert_problem(served.http.get("/readyz"), 503, "model-unhealthy")
    assert_problem(served.post(clip()), 503, "model-unhealthy")


def test_a_draining_server_closes_the_connection(served):
    served.engine.life.stop_advertising()
    assert_problem(served.http.get("/readyz"), 503, "draining")
    assert served.post(clip()).status_code == 200
    served.engine.life.drain()
    assert served.post(clip()).headers["connection"] == "close"


@pytest.fixture
def watched(serve, monkeypatch):
    """An app whose spool is checked all the time."""
    monkeypatch.setattr("server.api.uploads.watch.EVERY_S", 0.01)
    monkeypatch.setattr("server.api.uploads.watch.PATIENCE_S", 0.05)
    return serve()


@pytest.mark.parametrize(
    ("number", "word"),
    [(errno.ENOSPC, "full"), (errno.EROFS, "read-only"), (errno.EIO, "failing")],
)
def test_a_spool_that_cannot_be_written_turns_readiness_off_until_it_can(
    watched, monkeypatch, number, word
):
    def fail(*_, **__):
        raise OSError(number, "secret", "/tmp/path")

    with monkeypatch.context() as patch:
        patch.setattr("tempfile.TemporaryFile", fail)  # what the check writes
        patch.setattr("pathlib.Path.open", fail)  # what an upload writes
        wait_for(lambda: watched.http.get("/readyz").status_code == 503)
        for query in ({}, {"verbose": "1"}):
            refused = watched.http.get("/readyz", params=query)
            problem = assert_problem(refused, 503, "storage-unavailable")
            assert problem["detail"] == f"spool: {word}"
        assert watched.http.get("/v2/health/ready").status_code == 503
        assert "egopack_ready 0.0" in watched.http.get("/metrics").text
        assert watched.http.get("/livez").status_code == 200
        problem = assert_problem(watched.post(clip()), 503, "storage-unavailable")
        assert problem["retryable"]
        assert watched.engine.admission.requests == 0
    wait_for(lambda: watched.http.get("/readyz").status_code == 200)
    assert watched.post(clip()).status_code == 200


def test_a_spool_that_hangs_is_named_and_asked_once(watched):
    gate, asked = threading.Event(), []
    spool = watched.transport.app.state.spool.directory
    check = spool.check

    def hang():
        asked.append(1)
        gate.wait(PATIENCE_S)
        return check()

    spool.check = hang
    wait_for(lambda: watched.http.get("/readyz").status_code == 503)
    problem = assert_problem(watched.http.get("/readyz"), 503, "storage-unavailable")
    assert problem["detail"] == "spool: does not answer"
    assert asked == [1]
    gate.set()
    wait_for(lambda: watched.http.get("/readyz").status_code == 200)
