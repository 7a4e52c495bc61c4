"""A backend on a real socket, and Label Studio asking it."""

import threading
from contextlib import contextmanager

import httpx

from clients.client import EgoPackClient
from clients.label_studio.backend import Backend, BackendServer
from clients.label_studio.clips import Clips

CONFIG = """
<View>
  <Video name="film" value="$movie" frameRate="30"/>
  <TimelineLabels name="what" toName="film">
    <Label value="cut carrot"/><Label value="point of no return"/>
  </TimelineLabels>
</View>
"""
MODEL = {"name": "m", "version": "1", "sha256": "a" * 64, "tasks": ["ar"]}


@contextmanager
def backend(answer, store, *, status=200):
    """A backend on a real socket; `store` is what Label Studio says to a GET."""

    def egopack(request):
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"models": [MODEL]})
        if request.url.path == "/readyz":
            return httpx.Response(200, json={})
        body = answer if b"a clip" in request.read() else {"code": "undecodable-video"}
        return httpx.Response(status if body is answer else 422, json=body)

    options = {"token": "t", "max_bytes": 1000, "transport": httpx.MockTransport(store)}
    with (
        EgoPackClient(
            "http://egopack", transport=httpx.MockTransport(egopack), max_retries=0
        ) as client,
        Clips("http://studio:8080/", **options) as clips,
        BackendServer(Backend(client, clips, {}), "127.0.0.1", 0) as server,
    ):
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        with httpx.Client(
            base_url=f"http://127.0.0.1:{server.server_port}", trust_env=False
        ) as http:
            yield http
        server.shutdown()
        thread.join()


def kept(request):
    """Label Studio, with two clips."""
    assert request.headers["authorization"] == "Token t"
    bodies = {"/data/upload/1.mp4": b"a clip", "/data/upload/2.mp4": b"damaged"}
    body = bodies.get(request.url.path)
    return httpx.Response(404) if body is None else httpx.Response(200, content=body)


def ask(http, *addresses, config=CONFIG):
    tasks = [{"id": k, "data": {"movie": one}} for k, one in enumerate(addresses)]
    return http.post("/predict", json={"tasks": tasks, "label_config": config})
