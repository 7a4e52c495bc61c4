"""An app behind a real socket on this machine, for clients that bring their own."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from server.api.protocol import HttpProtocol


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """Serves the app from another thread; yields host and port."""
    socket_ = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, http=HttpProtocol, ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket_]})
    thread.start()
    try:
        yield f"127.0.0.1:{socket_.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        socket_.close()
