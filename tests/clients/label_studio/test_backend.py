import json
import threading
from contextlib import contextmanager

import httpx
import pytest

from clients.client import EgoPackClient
from clients.label_studio.backend import Backend, BackendServer
from clients.label_studio.clips import Clips
from clients.label_studio.interface import Interface
from clients.output import formats
from clients.results.predictions import PredictionResult

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


def test_each_task_gets_a_prediction_that_its_interface_can_show(answer):
    with backend(answer, kept) as http:
        body = ask(http, "/data/upload/1.mp4", "http://studio:8080/data/upload/1.mp4").json()
    one, other = body["results"]
    assert one == other
    assert one["model_version"].startswith("tabletop 1")
    labels = [region["value"]["timelinelabels"][0] for region in one["result"]]
    assert labels == ["cut carrot", "point of no return"]  # `state change` is not offered
    assert {(r["from_name"], r["to_name"]) for r in one["result"]} == {("what", "film")}
    assert 0 < one["score"] <= 1


def test_a_task_that_cannot_be_answered_does_not_take_the_others_with_it(answer):
    with backend(answer, kept) as http:
        response = ask(
            http,
            "/data/upload/1.mp4",
            "/data/upload/2.mp4",
            "/none.mp4",
            "http://169.254.169.254/latest/meta-data",
            "//elsewhere/x.mp4",
            "file:///etc/passwd",
        )
    assert response.status_code == 200
    counts = [len(one["result"]) for one in response.json()["results"]]
    assert counts == [2, 0, 0, 0, 0, 0]


def test_a_clip_larger_than_the_server_takes_is_not_fetched_to_its_end(answer):
    def endless():
        for _ in range(10**6):
            yield b"x" * 100
        raise AssertionError("read to the end")

    with backend(answer, lambda _: httpx.Response(200, content=endless())) as http:
        assert ask(http, "/large.mp4").json()["results"] == [{"result": [], "score": 0.0}]


def test_the_other_questions_are_answered(answer):
    with backend(answer, kept) as http:
        assert http.get("/health").json()["status"] == "UP"
        assert http.get("/").status_code == 200
        assert http.get("/versions").json() == {"versions": ["m 1 aaaaaaaaaaaa"]}
        assert http.post("/setup", json={"schema": CONFIG}).json() == {
            "model_version": "m 1 aaaaaaaaaaaa"
        }
        assert http.post("/webhook", json={"action": "ANNOTATION_CREATED"}).status_code == 201
        assert http.post("/elsewhere", json={}).status_code == 404


def test_a_personal_token_is_traded_for_a_pass_and_again_when_that_has_run_out(tmp_path):
    passes = iter(["one", "two", "three"])
    valid: list[str] = []
    asked = []

    def studio(request):
        asked.append(request.url.path)
        if request.url.path == "/here/api/token/refresh/":
            assert json.loads(request.read()) == {"refresh": "a.b.c"}
            assert "authorization" not in request.headers
            valid[:] = [next(passes)]
            return httpx.Response(200, json={"access": valid[0]})
        is_valid = request.headers.get("authorization") in [f"Bearer {one}" for one in valid]
        return httpx.Response(200, content=b"a clip") if is_valid else httpx.Response(401)

    transport = httpx.MockTransport(studio)
    with Clips("http://studio/here", token="a.b.c", max_bytes=9, transport=transport) as clips:
        for _ in range(2):
            with clips.fetched("/clip.mp4") as path:
                assert path.read_bytes() == b"a clip"
        valid.clear()
        with clips.fetched("/clip.mp4") as path:
            assert path.read_bytes() == b"a clip"
    renewal = "/here/api/token/refresh/"
    assert asked == [renewal, *["/clip.mp4"] * 3, renewal, "/clip.mp4"]


@pytest.mark.parametrize("token", ["old", "a.b.c", None])
def test_a_token_that_is_not_taken_is_named(token):
    transport = httpx.MockTransport(lambda _: httpx.Response(401))
    with (
        Clips("http://studio", token=token, max_bytes=9, transport=transport) as clips,
        pytest.raises(OSError, match="LABEL_STUDIO_API_KEY"),
        clips.fetched("/clip.mp4"),
    ):
        pass


@pytest.mark.parametrize("config", ["", "<View/>", '<View><TimelineLabels toName="x"/></View>'])
def test_an_interface_that_cannot_be_filled_is_explained(answer, config):
    with backend(answer, kept) as http:
        response = ask(http, "/data/upload/1.mp4", config=config)
        assert http.post("/setup", json={"schema": config}).status_code == 400
    assert response.status_code == 400
    assert "labelling interface" in response.json()["error"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"tasks": 3}'])
def test_a_body_that_is_no_question_is_refused(answer, body):
    with backend(answer, kept) as http:
        assert http.post("/predict", content=body).status_code == 400
        assert http.post("/predict", content=iter([body])).status_code == 413  # of unknown length


def test_an_interface_of_our_own_making_takes_every_answer(answer):
    result = PredictionResult.from_dict(answer)
    interface = Interface.from_config(formats.label_studio_config(result))
    assert interface.key == "video"
    regions = interface.prediction(result)["result"]
    assert regions == formats.to_label_studio(result)[0]["predictions"][0]["result"]
    json.dumps(regions)
