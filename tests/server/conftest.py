import json
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from server.api.app import create_app
from server.engine.engine import Engine
from server.schemas.prediction import ProblemBody
from tests.server.support.fakes import FakePool, FakePredictor, make_engine, make_settings
from tests.server.support.in_process import AppTransport, wait_for_ready
from tests.support.waiting import PATIENCE_S


@dataclass
class Served:
    """An app under test and the parts it is made of."""

    http: httpx.Client
    transport: AppTransport
    engine: Engine
    predictor: FakePredictor
    pool: FakePool
    spool_parent: Path

    def wait_ready(self) -> None:
        """Waits for it, however loaded the machine is; a failure to start ends the wait."""
        wait_for_ready(self.engine, self.http)

    def spooled(self) -> list[Path]:
        """Files left in the spool."""
        return [path for path in self.spool_parent.rglob("*") if path.is_file()]

    def post(self, body: Any, *, kind: str = "video/mp4", **query: Any) -> httpx.Response:
        """Sends a raw body with query parameters."""
        return self.http.post(
            "/v1/predictions", content=body, params=query, headers={"content-type": kind}
        )

    def post_form(self, body: bytes, options: dict[str, Any] | None = None) -> httpx.Response:
        """Sends a form."""
        files: dict[str, Any] = {"video": ("../../etc/passwd", body)}
        if options is not None:
            files["request"] = (None, json.dumps(options), "application/json")
        return self.http.post("/v1/predictions", files=files)


def assert_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Checks everything a problem promises and returns it."""
    assert (response.status_code, response.json().get("code")) == (status, code), response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = ProblemBody.model_validate_json(response.text, strict=True)
    assert problem.type == f"urn:egopack:problem:{code}"
    assert problem.status == status
    assert problem.request_id == response.headers["x-request-id"]
    assert problem.instance == f"urn:request:{problem.request_id}"
    assert (status in (429, 503)) == ("retry-after" in response.headers)
    for secret in ("Traceback", "/tmp", "egopack-spool", "signal 11", "secret"):
        assert secret not in response.text
    values: dict[str, Any] = response.json()
    return values


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Starts an app with fakes; keyword arguments are settings."""
    with ExitStack() as stack:

        def start(*, gate: threading.Event | None = None, **values: Any) -> Served:
            settings = make_settings(spool_dir=tmp_path / "spool", **values)
            predictor, pool = FakePredictor(), FakePool()
            engine = make_engine(settings, predictor, pool)
            if gate is not None:  # loading waits for it
                pool.start = lambda: gate.wait(PATIENCE_S)  # type: ignore[method-assign, assignment]
            transport = AppTransport(create_app(settings, engine))
            transport.start()
            stack.callback(transport.stop)
            http = stack.enter_context(
                httpx.Client(base_url="http://test", transport=transport, timeout=PATIENCE_S)
            )
            made = Served(http, transport, engine, predictor, pool, tmp_path / "spool")
            if gate is None:
                made.wait_ready()
            return made

        yield start


@pytest.fixture
def served(serve: Callable[..., Served]) -> Served:
    return serve()


@pytest.fixture
def serve_jobs(serve, monkeypatch):
    """As `serve`, with videos that are lines of text."""
    from tests.server.jobs.support.fake_stream import FakeStream

    monkeypatch.setattr("server.engine.long_video.VideoStream", FakeStream)
    return serve
