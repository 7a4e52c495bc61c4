import threading

from tests.server.conftest import assert_problem
from tests.server.support.fakes import clip


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
        "checks": {"state": "ready", "canary": "ok", "reload": "none"} | JOBS_OK,
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
