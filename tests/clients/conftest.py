import json
from typing import Any

import httpx
import pytest

import clients.api.transport
from clients.client import EgoPackClient
from clients.commands import arguments
from server.api.app import create_app
from server.schemas.examples import PREDICTION
from tests.clients.support.awaited import Awaited
from tests.server.support.fakes import clip, make_engine, make_settings
from tests.server.support.in_process import AppTransport


@pytest.fixture
def answer() -> dict[str, Any]:
    """A whole answer, as parsed JSON, to change at will."""
    return json.loads(json.dumps(PREDICTION))


@pytest.fixture
def clip_path(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip(120, 51))
    return path


@pytest.fixture
def client(tmp_path):
    """A client of the real app with a fake model."""
    settings = make_settings(spool_dir=tmp_path / "spool", api_key="sesame")
    transport = AppTransport(create_app(settings, make_engine(settings)))
    transport.start()
    with EgoPackClient("http://test", api_key="sesame", transport=transport) as made:
        made.wait_ready(10)
        yield made
    transport.stop()


@pytest.fixture
def naps(monkeypatch):
    """Replaces sleeping by a list of how long it would have been."""
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    monkeypatch.setattr(clients.api.transport.time, "sleep", slept.append)
    monkeypatch.setattr(clients.api.transport.asyncio, "sleep", sleep)
    return slept


@pytest.fixture(params=[EgoPackClient, Awaited])
def mocked(request):
    """Makes a client, of either kind, whose server is a function."""

    def make(handler, **options):
        return request.param("http://test", transport=httpx.MockTransport(handler), **options)

    return make


@pytest.fixture
def replies(monkeypatch):
    """Replaces the server by this function's reply."""

    def use(handler):
        def make(url, **options):
            return EgoPackClient(url, transport=httpx.MockTransport(handler), **options)

        monkeypatch.setattr(arguments, "EgoPackClient", make)

    return use
