"""Connections with an app that reads or does not read, over real sockets."""

import asyncio
import json
import re
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import uvicorn
from websockets.client import ClientProtocol
from websockets.protocol import State
from websockets.uri import parse_uri

from server.api import protocol, serve
from server.api.protocol import FREE_CHUNKS, HttpProtocol, LiveSocket
from tests.server.support.fakes import make_engine, make_settings
from tests.server.support.probe import NOISE, probing
from tests.support.waiting import PATIENCE_S, wait_for

REQUIREMENTS = Path(__file__).parents[3] / "requirements"


async def app(scope, receive, send):
    """Answers with the size of the body, or at once where the path says so."""
    size = 0
    while scope["path"] != "/refuse":
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
        if not message["more_body"]:
            break
    text = str(size).encode()
    headers = [(b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": text})


@pytest.fixture(scope="module")
def wired():
    """An address, and what runs on the loop behind it."""
    with serving() as found:
        yield found


@contextmanager
def serving(application=app, **options):
    given = {"http": HttpProtocol, "ws": LiveSocket, "lifespan": "off", **options}
    config = uvicorn.Config(application, log_config=None, **given)
    server, loop = uvicorn.Server(config), asyncio.new_event_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        work = server.serve(sockets=[listener])
        thread = threading.Thread(target=lambda: loop.run_until_complete(work))
        thread.start()
        try:
            wait_for(lambda: server.started)
            yield SimpleNamespace(
                address=listener.getsockname(),
                run=lambda work: asyncio.run_coroutine_threadsafe(work, loop).result(PATIENCE_S),
            )
        finally:
            server.should_exit = True
            thread.join()
            loop.close()


def connect(wired):
    return socket.create_connection(wired.address, timeout=PATIENCE_S)


def post(path="/", *headers, length=None):
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: test", framing, *headers, "", ""]).encode()


def answer_of(wire):
    """Status and body of everything until the server closes, or of one answer with a length."""
    data = b""
    while b"\r\n\r\n" not in data:
        assert (more := wire.recv(65536)), data
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head.lower()).group(1))
    while len(body) < length:
        assert (more := wire.recv(65536)), data
        body += more
    return int(head.split()[1]), body


def chunks(size, count):
    return (b"%x\r\n" % size + b"a" * size + b"\r\n") * count


def test_a_body_of_tiny_chunks_costs_no_more_than_its_bytes_deserve(wired):
    with connect(wired) as wire, probing(wired) as reading:
        wire.sendall(post())
        sent = chunks(1, 400_000)
        sending = threading.Thread(target=send_all, args=(wire, sent))
        sending.start()
        status, body = answer_of(wire)
        sending.join()
    assert status == 400
    assert "chunks of less than 32 bytes" in json.loads(body)["detail"]
    assert reading.is_smooth, reading
    assert reading.grown_bytes <= 2 * len(sent) + NOISE, reading


def send_all(wire, data):
    try:
        wire.sendall(data)
    except OSError:  # the server has had enough
        return


@pytest.mark.parametrize(("size", "count"), [(1, FREE_CHUNKS), (64, 20_000), (65536, 100)])
def test_chunks_of_ordinary_sizes_and_some_small_ones_are_read(wired, size, count):
    with connect(wired) as wire:
        wire.sendall(post() + chunks(size, count) + b"0\r\n\r\n")
        assert answer_of(wire) == (200, str(size * count).encode())


def test_a_head_without_end_is_refused_by_the_parser_with_a_problem(wired):
    with connect(wired) as wire:
        send_all(wire, b"GET / HTTP/1.1\r\nHost: test\r\nX: " + b"a" * 2**20)
        status, body = answer_of(wire)
    assert (status, json.loads(body)["code"]) == (431, "headers-too-large")


UNCLEAR = {
    "two-framings": b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nabc",
    "two-lengths": b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "a-signed-length": b"Content-Length: +3\r\n\r\nabc",
    "a-length-in-words": b"Content-Length: three\r\n\r\nabc",
    "a-length-without-end": b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nabc",
    "another-coding": b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a-coding-twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a-blank-before-a-colon": b"Content-Length : 3\r\n\r\nabc",
    "a-size-in-words": b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "a-signed-size": b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
    "a-size-without-end": b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 30 + b"\r\n",
    "no-line-end-after-a-chunk": b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    "a-second-host": b"Host: other\r\nContent-Length: 0\r\n\r\n",
    "a-null": b"X: \0\r\nContent-Length: 0\r\n\r\n",
}


@pytest.mark.parametrize("rest", UNCLEAR.values(), ids=UNCLEAR)
def test_a_message_whose_end_is_in_doubt_is_refused_and_its_connection_closed(wired, rest):
    with connect(wired) as wire:
        wire.sendall(b"POST / HTTP/1.1\r\nHost: test\r\n" + rest)
        status, body = answer_of(wire)
        assert status in (400, 501)
        assert json.loads(body)["code"] == "malformed-request"
        wire.shutdown(socket.SHUT_WR)
        assert wire.recv(65536) == b""


@pytest.mark.parametrize("headers", [("Connection: close",), ()], ids=["close", "keep-alive"])
def test_a_client_that_reads_only_after_it_has_sent_everything_hears_a_refusal(wired, headers):
    body = bytes(16 * 2**20)
    with connect(wired) as wire:
        wire.sendall(post("/refuse", *headers, length=len(body)))
        wire.sendall(body)
        assert answer_of(wire) == (200, b"0")
        if not headers:  # the connection can be used again
            wire.sendall(post(length=3) + b"abc")
            assert answer_of(wire) == (200, b"3")


@pytest.mark.parametrize("headers", [("Connection: close",), ()], ids=["close", "keep-alive"])
@pytest.mark.parametrize(("name", "value"), [("LINGER_BYTES", 2**20), ("LINGER_S", 0.05)])
def test_the_rest_of_a_refused_body_is_not_read_for_ever(wired, monkeypatch, name, value, headers):
    monkeypatch.setattr(protocol, name, value)
    with connect(wired) as wire:
        wire.sendall(post("/refuse", *headers, length=2**40))
        assert answer_of(wire) == (200, b"0")

        def is_over():
            try:
                wire.sendall(bytes(2**16 if name == "LINGER_BYTES" else 1))
            except OSError:
                return True
            return False

        wait_for(is_over, pause_s=0.001)


def test_the_server_chooses_this_protocol_whatever_is_installed(monkeypatch):
    chosen = []
    monkeypatch.setattr(serve._Server, "run", lambda server: chosen.append(server.config))
    settings = make_settings()
    assert serve.serve(settings, make_engine(settings)) is None
    (config,) = chosen
    assert config.http is HttpProtocol
    assert (config.ws, config.proxy_headers) == (LiveSocket, False)


def test_every_set_of_requirements_has_the_same_parser():
    found = {
        path.name: re.findall(r"^(h11==\S+)", path.read_text(), re.MULTILINE)
        for path in REQUIREMENTS.glob("*.txt")
        if "uvicorn==" in path.read_text()
    }
    assert {"run.txt", "scale.txt", "dev.txt"} <= set(found)
    assert len({tuple(pins) for pins in found.values()}) == 1
    assert all(len(pins) == 1 for pins in found.values())


class Ear:
    """An application that accepts a WebSocket and notes what comes, as far as it listens."""

    def __init__(self):
        self.got = []
        self.is_listening = True

    async def __call__(self, scope, receive, send):
        await receive()
        await send({"type": "websocket.accept"})
        while not self.got or self.got[-1]["type"] != "websocket.disconnect":
            self.got.append(await receive())
            while not self.is_listening:
                await asyncio.sleep(0.005)

    def code(self):
        """Waits for the end; returns its code."""
        return wait_for(lambda: self.got and self.got[-1].get("code"))


@contextmanager
def eared(**options):
    """A WebSocket of an `Ear`, driven by hand: it answers no ping."""
    ear = Ear()
    with serving(ear, **options) as wired, connect(wired) as wire:
        client = ClientProtocol(parse_uri("ws://test/"))
        client.send_request(client.connect())
        wire.sendall(b"".join(client.data_to_send()))
        client.receive_data(wire.recv(65536))
        assert client.state is State.OPEN
        yield ear, client, wire


def test_a_client_that_answers_no_ping_has_dropped():
    with eared(ws_ping_interval=0.05, ws_ping_timeout=0.05) as (ear, _, _):
        assert ear.code() == 1006


def test_an_answer_that_is_not_read_yet_is_none_that_is_missing():
    """Reading pauses while the application is busy with a message."""
    with eared(ws_ping_interval=0.02, ws_ping_timeout=0.02) as (ear, client, wire):
        ear.is_listening = False
        for _ in range(2):
            client.send_binary(b"piece")
        wire.sendall(b"".join(client.data_to_send()))
        wait_for(lambda: ear.got)
        time.sleep(0.3)
        ear.is_listening = True
        assert ear.code() == 1006  # from now on it is missed
        assert [message.get("bytes") for message in ear.got] == [b"piece", b"piece", None]


@pytest.mark.parametrize("code", [1000, 1001, 4000])
def test_a_close_frame_is_told_from_a_connection_that_ends(code):
    with eared() as (ear, client, wire):
        client.send_close(code)
        wire.sendall(b"".join(client.data_to_send()))
        assert ear.code() == code
    with eared() as (ear, _, wire):
        wire.shutdown(socket.SHUT_RDWR)
        assert ear.code() == 1006


def test_other_upgrades_are_ordinary_requests(wired):
    with connect(wired) as wire:
        upgrade = b"GET /refuse HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
        for _ in range(2):
            wire.sendall(upgrade)
            answer = b""
            while not answer.endswith(b"\r\n\r\n0"):
                answer += wire.recv(65536)
            assert answer.startswith(b"HTTP/1.1 200 ")
