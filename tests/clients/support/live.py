"""A server of live streams that breaks connections, refuses, and counts what it gets."""

import asyncio
import json
import threading
from contextlib import asynccontextmanager
from http import HTTPStatus

from websockets.asyncio.server import serve

from clients.api import live

RESULT = {
    "id": "x",
    "model": {"name": "tiny", "version": "1", "sha256": "0" * 64},
    "features": {"encoder": "tiny", "fps": 30.0, "window": 32, "stride": 16, "count": 1},
    "segments": [
        {
            "start_s": 0.0,
            "end_s": 2.0,
            "ar": {
                "verb": [{"id": 0, "label": "take", "probability": 0.9}],
                "noun": [{"id": 1, "label": "<pan>", "probability": 0.8}],
            },
        }
    ],
    "timings": dict.fromkeys(
        ("queue_ms", "decode_ms", "features_ms", "reason_ms", "total_ms"), 0.0
    ),
}


class FakeServer:
    """The server's side of the protocol: an answer for every two messages it takes in."""

    def __init__(self, *, breaks_after=(), refuses=None, closes=None, answers=True):
        self.breaks_after, self.refuses, self.closes = list(breaks_after), refuses, closes
        self.taken, self.sent, self.openings, self.headers = [], [], [], []
        self.subprotocols, self.answers, self.more = [], answers, []

    def send(self, kind, **fields):
        self.sent.append({"seq": len(self.sent) + 1, "type": kind, **fields})
        return json.dumps(self.sent[-1])

    async def refuse(self, connection, request):
        self.headers.append(request.headers)
        if self.refuses is None:
            return None
        status, code = self.refuses
        body = json.dumps({"code": code, "detail": "not now", "status": status})
        response = connection.respond(HTTPStatus(status), body)
        response.headers["Retry-After"] = "7"
        return response

    async def talk(self, socket):
        self.subprotocols.append(socket.subprotocol)
        opening = json.loads(await socket.recv())
        self.openings.append(opening)
        if "resume" in opening:
            await socket.send(
                json.dumps({"seq": 0, "type": "resumed", "received": len(self.taken)})
            )
            for message in self.sent[opening["after"] :]:
                await socket.send(json.dumps(message))
        else:
            await socket.send(self.send("ready", token="t0", received=0))
        if self.closes is not None:
            code, error = self.closes
            await socket.send(self.send("error", code=error, detail="as it is"))
            await socket.close(code, "reason")
            return
        async for message in socket:
            if isinstance(message, str):
                assert json.loads(message) == {"type": "end"}
                await socket.send(self.send("summary", result=RESULT))
                await socket.close()
                return
            self.taken.append(message)
            count = len(self.taken)
            if count % 2 == 0 and self.answers:
                if count % 4 == 0:
                    await socket.send(self.send("ack", received=count))
                await socket.send(self.send("answer", from_s=0.0, to_s=float(count), lag_ms=1.0))
                for kind, fields in self.more:
                    await socket.send(self.send(kind, **fields))
                self.more = []
            if self.breaks_after and count >= self.breaks_after[0]:
                self.breaks_after.pop(0)
                socket.transport.abort()
                return


@asynccontextmanager
async def running(server):
    async with serve(
        server.talk,
        "127.0.0.1",
        0,
        subprotocols=[live.PROTOCOL],
        process_request=server.refuse,
        compression=None,
    ) as listening:
        port = listening.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"


class InThread:
    """A fake server in a thread, for the blocking client."""

    def __init__(self, server):
        self.server, self.url = server, ""
        self._ready, self._stop = threading.Event(), None

    def __enter__(self):
        async def main():
            self._stop = asyncio.Event()
            self._loop = asyncio.get_running_loop()
            async with running(self.server) as self.url:
                self._ready.set()
                await self._stop.wait()

        self._thread = threading.Thread(target=asyncio.run, args=(main(),))
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
