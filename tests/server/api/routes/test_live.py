"""Live streams over a real socket: refusals, close codes, drops, and what becomes of the rest."""

import contextlib
import io
import itertools
import json
import os
import signal
import socket as sockets
import struct
import time
from contextlib import contextmanager
from dataclasses import replace

import httpx
import pytest
from PIL import Image
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.uri import parse_uri

from server.api.app import create_app
from server.errors import Draining, NotReady
from server.live.outbox import MAX_BYTES
from tests.extract.support.clips import noisy_frames, write_clip
from tests.server.support.fakes import FakePredictor, make_engine, make_settings
from tests.server.support.live_client import dialled
from tests.server.support.loopback import listening
from tests.support.waiting import PATIENCE_S, wait_for

FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}


class Lived:
    """An app with fakes behind a socket; decoders are real."""

    def __init__(self, address, app, predictor):
        self.address, self.app, self.predictor = address, app, predictor
        self.registry, self.engine = app.state.live, app.state.engine

    def dial(self, **options):
        return dialled(self.address, **options)

    def refusal(self, **options):
        """The response to an upgrade that is refused, and its problem."""
        with pytest.raises(InvalidStatus) as refused, self.dial(**options):
            pass
        response = refused.value.response
        assert response.headers["content-type"] == "application/problem+json"
        assert response.headers["x-content-type-options"] == "nosniff"
        problem = json.loads(response.body)
        assert problem["status"] == response.status_code
        assert problem["request_id"] == response.headers["x-request-id"]
        return response, problem

    def sessions(self):
        return [session for session, _ in self.registry._sessions.values()]

    def sample(self, name, **labels):
        return self.engine.telemetry.metrics.registry.get_sample_value(name, labels)


@pytest.fixture
def lived(tmp_path):
    with contextlib.ExitStack() as stack:

        def start(*, send_buffer=None, **values):
            settings = make_settings(
                **{
                    "spool_dir": tmp_path / "spool",
                    "live_ahead_s": 1e6,
                    "live_windows_s": 1e6,
                    "max_caller_share": 1.0,
                    **values,
                }
            )
            predictor = FakePredictor()
            app = create_app(settings, make_engine(settings, predictor))
            address = stack.enter_context(listening(app, send_buffer=send_buffer))
            wait_for(lambda: httpx.get(f"http://{address}/readyz").status_code == 200)
            return Lived(address, app, predictor)

        yield start


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "a.mp4"
    options = {"g": "12", "bf": "0"}
    return write_clip(
        path, noisy_frames(150, 64, 48), options=options, container_options=FRAGMENTED
    ).read_bytes()


def picture(number=0, time_s=None, kind="PNG"):
    target = io.BytesIO()
    Image.new("RGB", (64, 48), (number % 256,) * 3).save(target, kind)
    return struct.pack("<d", number / 30 if time_s is None else time_s) + target.getvalue()


def pieces(data, size=4000):
    return [data[first : first + size] for first in range(0, len(data), size)]


@contextmanager
def driven(served, *, receive_buffer=None):
    """A connection driven by hand, which reads and answers nothing after its upgrade."""
    protocol = ClientProtocol(
        parse_uri(f"ws://{served.address}/v1/live"), subprotocols=["egopack.live.v1"]
    )
    host, port = served.address.split(":")
    with sockets.socket() as wire:
        if receive_buffer is not None:
            wire.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, receive_buffer)
        wire.connect((host, int(port)))

        def send():
            wire.sendall(b"".join(protocol.data_to_send()))

        def say(data, *, is_binary=False):
            (protocol.send_binary if is_binary else protocol.send_text)(data)
            send()

        protocol.send_request(protocol.connect())
        send()
        protocol.receive_data(wire.recv(65536))
        yield say, wire


def test_a_container_in_pieces_is_answered_and_summarised(lived, clip):
    served = lived()
    with served.dial() as live:
        live.say(input="container", segment_s=2.0, evidence=True, skip=False)
        for piece in pieces(clip):
            live.send(piece)
        live.say(type="end")
        found = live.read_all()
    assert live.close == 1000
    assert [m["seq"] for m in found] == list(range(1, len(found) + 1))
    assert live.socket.subprotocol == "egopack.live.v1"
    assert len(live.of("answer")) == 9
    assert live.of("answer")[-1]["to_s"] == pytest.approx(5.0)
    assert live.of("ack")[-1]["received"] <= len(pieces(clip))
    (summary,) = live.of("summary")
    assert [s["end_s"] for s in summary["result"]["segments"]] == pytest.approx([2.0, 5.0])
    assert "evidence" in live.of("answer")[0]
    wait_for(lambda: not served.sessions())
    assert served.sample("egopack_live_sessions") == 0
    assert served.sample("egopack_live_lag_seconds_count") == 9
    wait_for(lambda: served.sample("egopack_requests_total", endpoint="live", outcome="ok") == 1)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_pictures_are_answered_as_they_come(lived, kind):
    with lived().dial() as live:
        live.say(rate=30)
        for _ in range(32):
            live.send(picture(100, 0.0, kind=kind))
        answer = live.read("answer")
        assert answer["to_s"] == pytest.approx(32 / 30)
        assert answer["ar"]["verb"][0]["probability"] == pytest.approx(100 / 255, abs=0.01)


def test_an_upgrade_is_refused_with_a_problem_and_its_reason(lived):
    served = lived(api_keys={"ann": "sesame"}, key_guess_limit="", live_sessions=1)
    for options in ({}, {"key": "wrong"}, {"additional_headers": {"authorization": "Bearer x"}}):
        response, problem = served.refusal(**options)
        assert (response.status_code, problem["code"]) == (401, "unauthenticated")
        assert response.headers["www-authenticate"] == "Bearer"
    response, problem = served.refusal(key="sesame", origin="https://evil.example")
    assert (response.status_code, problem["code"]) == (403, "cross-site")
    response, problem = served.refusal(protocol=None, additional_headers={"x-api-key": "sesame"})
    assert (response.status_code, problem["code"]) == (400, "malformed-request")
    bearer = {"authorization": "Bearer sesame"}
    own = f"http://{served.address}"
    with served.dial(key="sesame", origin=own) as live:  # as a page of its own does
        live.say()
        assert live.read("ready")["session"]
        response, problem = served.refusal(additional_headers=bearer)
        assert (response.status_code, problem["code"]) == (429, "queue-full")
        assert int(response.headers["retry-after"]) > 0
        assert problem["limits"]["live_sessions"] == 1
    assert served.sample("egopack_live_refusals_total", reason="streams") == 1
    wait_for(lambda: not served.sessions())
    with served.dial(additional_headers=bearer) as live:
        live.say()
        assert live.read("ready")


def test_a_host_that_is_not_ours_is_refused(lived):
    served = lived(allowed_hosts=None)
    headers = {"host": "evil.example"}
    with sockets.create_connection(served.address.split(":")) as raw:
        raw.sendall(
            b"GET /v1/live HTTP/1.1\r\nHost: evil.example\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
            b"Sec-WebSocket-Protocol: egopack.live.v1\r\n\r\n"
        )
        answer = raw.recv(4096)
    assert answer.startswith(b"HTTP/1.1 421 "), headers
    assert b"wrong-host" in answer


def test_rates_count_upgrades(lived):
    served = lived(rate_limit="2/hour")
    with contextlib.suppress(InvalidStatus):
        for _ in range(3):
            with served.dial():
                pass
    response, problem = served.refusal()
    assert (response.status_code, problem["code"]) == (429, "rate-limited")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [(Draining("it stops"), 503, "draining"), (NotReady("loading"), 503, "starting")],
)
def test_a_server_that_is_not_ready_refuses(lived, monkeypatch, error, status, code):
    served = lived()

    def refuse():
        raise error

    monkeypatch.setattr(served.engine.life, "require_open", refuse)
    response, problem = served.refusal()
    assert (response.status_code, problem["code"]) == (status, code)


def test_other_paths_are_no_sockets(lived):
    served = lived()
    with pytest.raises(InvalidStatus) as refused, dialled(served.address.replace("/", "") + "/x"):
        pass
    assert refused.value.response.status_code == 403
    assert httpx.get(f"http://{served.address}/v1/live").status_code == 404


def text(value):
    return lambda live: live.socket.send(value)


def opened(*messages, **options):
    def run(live):
        live.say(**options)
        for message in messages:
            live.socket.send(message)

    return run


MISUSES = {
    "no JSON": (text("{"), 1007, "malformed-request"),
    "no object": (text("[1]"), 1007, "malformed-request"),
    "unknown option": (text('{"colour": 1}'), 1008, "invalid-field"),
    "unknown task": (text('{"tasks": ["juggling"]}'), 1008, "invalid-field"),
    "long options": (text('{"tasks": ["' + "a" * 70_000 + '"]}'), 1008, "invalid-field"),
    "picture first": (text(b"12345678picture"), 1003, "unexpected-message"),
    "unknown token": (text('{"resume": "guess", "after": 0}'), 4404, "unknown-token"),
    "second options": (opened("{}"), 1003, "unexpected-message"),
    "later no JSON": (opened("{"), 1007, "malformed-request"),
    "short picture": (opened(b"1234567"), 4400, "damaged"),
    "after the end": (opened('{"type": "end"}', b"12345678abc"), 1003, "ended"),
    "no picture": (opened(struct.pack("<d", 0) + b"<svg/>"), 4400, "unsupported-codec"),
    "no time": (opened(picture(time_s=float("nan"))), 4400, "damaged"),
    "nothing": (opened('{"type": "end"}'), 4400, "damaged"),
    "no container": (opened(b"#EXTM3U\n" * 90, input="container"), 4400, "not-a-video"),
    "long piece": (opened(bytes(2**20 + 1), input="container"), 1009, "message-too-large"),
    "too fast": (
        opened(*(picture(n, n / 1000) for n in range(400))),
        4400,
        "frame-rate-too-high",
    ),
}


@pytest.mark.parametrize("misuse", MISUSES)
def test_every_misuse_has_its_close_code_and_reason(lived, misuse):
    act, close, code = MISUSES[misuse]
    served = lived()
    with served.dial() as live:
        act(live)
        live.read_all()
        assert (live.close, live.got[-1].get("code")) == (close, code)
        assert live.got[-1]["type"] == "error"
    wait_for(lambda: not served.sessions())
    assert served.sample("egopack_live_sessions") == 0


def test_a_message_without_end_closes_the_connection(lived):
    served = lived(live_message_mb=1.0)
    with served.dial() as live:
        live.say()
        live.read("ready")
        live.send(bytes(2**23 + 9))
        live.read_all()
        assert live.close == 1009
    wait_for(lambda: not served.sessions())


def test_silence_and_senders_of_nothing_new_are_ended(lived, clip):
    served = lived(live_idle_s=0.5)
    with served.dial() as silent, served.dial() as backwards, served.dial() as dripping:
        silent.say()
        backwards.say()
        dripping.say(input="container")
        for n in range(10_000):
            try:
                backwards.send(picture(1, 100 - n))
                dripping.send(clip[n : n + 1])
            except Exception:
                break
            time.sleep(0.02)
        for live, words in ((silent, "nothing came"), (backwards, "new"), (dripping, "new")):
            live.read_all()
            assert (live.close, live.got[-1]["code"]) == (1008, "idle")
            assert words in live.got[-1]["detail"]


def test_no_opening_message_in_time_closes(lived, monkeypatch):
    monkeypatch.setattr("server.api.routes.live.OPENING_S", 0.05)
    with lived().dial() as live:
        live.read_all()
        assert (live.close, live.got[-1]["code"]) == (1008, "no-options")


def test_a_dropped_connection_goes_on_without_a_hole(lived, clip):
    """Every message is received once, whatever the moments of three cuts."""
    served = lived()
    data = pieces(clip, 1500)
    options = {"input": "container", "skip": False}
    got, token, after, received = [], None, 0, 0
    for share in (3, 6, 6, None):
        with served.dial() as live:
            opening = {"resume": token, "after": after} if token else options
            live.say(**opening)
            first = live.read("resumed" if token else "ready")
            received, token = first["received"], token or first["token"]
            assert first["seq"] == (after if after else 1)
            until = len(data) if share is None else received + len(data) // share
            for piece in data[received:until]:
                live.send(piece)
            if share is None:
                live.say(type="end")
                live.read_all()
            else:
                live.read("answer")
                live.drop()
            got += [m for m in live.got if m["type"] != "resumed"]
            after = got[-1]["seq"]
    assert live.close == 1000
    assert [m["seq"] for m in got] == list(range(1, len(got) + 1))
    answers = [m["to_s"] for m in got if m["type"] == "answer"]
    assert answers == pytest.approx([(32 + 16 * n) / 30 for n in range(8)] + [5.0])
    assert got[-1]["result"]["features"]["count"] == 9
    wait_for(lambda: not served.sessions())


def test_what_was_under_way_at_the_end_is_fetched_again(lived, monkeypatch):
    """The connection drops after the summary was written and before it arrived."""
    monkeypatch.setattr("server.api.routes.live.HEARD_S", 0.2)
    served = lived()
    with driven(served) as (say, wire):
        say(b'{"rate": 30, "skip": false}')
        wait_for(served.sessions)
        (session,) = served.sessions()
        for n in range(40):
            say(picture(n), is_binary=True)
        say(b'{"type": "end"}')
        wait_for(lambda: session.ending)
        wait_for(lambda: session.dropped_for_s is not None)
    with served.dial() as second:
        second.say(resume=session.token, after=1)
        second.read_all()
        assert second.got[0]["type"] == "resumed"
        assert [m["seq"] for m in second.got[1:]] == list(range(2, session.outbox.last + 1))
        assert (second.got[-1]["type"], second.close) == ("summary", 1000)
    wait_for(lambda: not served.sessions())


def test_a_client_that_comes_back_early_replaces_its_own_connection(lived):
    served = lived()
    with served.dial() as first:
        first.say(rate=30)
        token = first.read("ready")["token"]
        first.send(picture())
        first.read("ack")
        with served.dial() as second:
            second.say(resume=token, after=1)
            assert second.read("resumed")["received"] == 1
            assert second.read("ack")["seq"] == 2
            first.read_all()
            assert first.close == 1008
            second.say(type="end")
            second.read_all()
            assert second.close == 1000


def test_a_client_that_closes_ends_its_stream(lived):
    served = lived()
    with served.dial() as live:
        live.say()
        token = live.read("ready")["token"]
    wait_for(lambda: not served.sessions())
    with served.dial() as again:
        again.say(resume=token, after=1)
        again.read_all()
        assert again.close == 4404


def test_a_stream_without_a_place_is_asked_to_come_later(lived, monkeypatch):
    """The upgrade is accepted, as it may go on with its own dropped stream."""
    served = lived(live_sessions=1)
    with served.dial() as first:
        first.say()
        first.read("ready")
        monkeypatch.setattr("server.live.session.QUIET_S", -1.0)  # is it still there?
        with served.dial() as second:
            second.say()
            second.read_all()
            assert (second.close, second.got[-1]["code"]) == (1013, "queue-full")


def decoder_of(served):
    (session,) = served.sessions()
    return session._decoder


@pytest.mark.slow(1)
def test_a_decoder_that_is_killed_costs_pictures_a_moment_and_a_container_its_stream(lived, clip):
    served = lived()
    with served.dial() as live:
        live.say(skip=False)
        for n in range(48):
            live.send(picture(n))
        live.read("answer")
        os.kill(decoder_of(served)._process.pid, signal.SIGKILL)
        for n in range(48, 300):
            live.send(picture(n))
            time.sleep(0.002)
        live.say(type="end")
        live.read_all()
        assert live.close == 1000
        answers = [m["to_s"] for m in live.of("answer")]
        assert answers[-1] == pytest.approx(10.0)
        assert len(answers) == 18
    assert served.sample("egopack_decoder_restarts_total", reason="crash") == 1
    with served.dial() as live:
        live.say(input="container")
        live.send(clip[:8000])
        live.read("ack")
        wait_for(served.sessions)
        os.kill(decoder_of(served)._process.pid, signal.SIGKILL)
        live.read_all()
        assert (live.close, live.got[-1]["code"]) == (4400, "decoder-died")


def test_a_reader_that_never_reads_is_let_go(lived, monkeypatch):
    """Its messages stay bounded, its connection ends, and others are answered meanwhile."""
    monkeypatch.setattr("server.api.protocol.ABORT_S", 0.3)
    served = lived(live_send_s=0.3, send_buffer=4096)
    predict = served.predictor.predict

    def talkative(requests):
        found = predict(requests)
        lasts = [f.lta and replace(f.lta, hypotheses=f.lta.hypotheses * 200) for f in found]
        return [replace(f, lta=lta) for f, lta in zip(found, lasts, strict=True)]

    monkeypatch.setattr(served.predictor, "predict", talkative)
    with driven(served, receive_buffer=4096) as (say, wire):
        say(b'{"rate": 30, "forecast_every": 1}')
        wait_for(served.sessions)
        (session,) = served.sessions()
        with contextlib.suppress(ConnectionError):
            for n in itertools.takewhile(lambda _: session.ending is None, itertools.count()):
                say(picture(n), is_binary=True)
        assert (session.ending.close, session.ending.code) == (1008, "slow-reader")
        assert session.outbox._bytes < 2 * MAX_BYTES
        wait_for(lambda: not served.sessions())
        with served.dial() as other:
            other.say()
            assert other.read("ready")
        wire.settimeout(PATIENCE_S)
        with contextlib.suppress(ConnectionResetError):
            while wire.recv(65536):  # what was under way, then the end
                pass


def test_a_server_that_stops_says_so(lived):
    served = lived()
    with served.dial() as live:
        live.say()
        live.read("ready")
        served.engine.life.drain()
        live.read_all()
        assert (live.close, live.got[-1]["code"]) == (1001, "draining")


def test_the_stream_is_named_in_the_log_and_the_key_is_not(lived, caplog):
    served = lived(api_keys={"ann": "sesame"})
    caplog.set_level("INFO")
    with served.dial(key="sesame") as live:
        live.say()
        stream = live.read("ready")["session"]
    wait_for(lambda: any(getattr(r, "stream", None) == stream for r in caplog.records))
    (line,) = (r for r in caplog.records if getattr(r, "stream", None) == stream)
    assert (line.key, line.getMessage()) == ("ann", "WEBSOCKET /v1/live 101")
    assert "sesame" not in caplog.text
    assert "c2VzYW1l" not in caplog.text
