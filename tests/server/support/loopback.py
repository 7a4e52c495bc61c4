"""An app behind a real socket on this machine, for clients that bring their own."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from server.api.protocol import HttpProtocol, LiveSocket


@contextmanager
def listening(app: FastAPI, *, send_buffer: int | None = None) -> Iterator[str]:
    """Serves the app from another thread; yields host and port.

    Args:
        app: served.
        send_buffer: bytes that the system keeps of what a client does not read.
    """
    socket_ = socket.create_server(("127.0.0.1", 0))
    if send_buffer is not None:  # connections inherit it
        socket_.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    config = uvicorn.Config(
        app, log_config=None, http=HttpProtocol, ws=LiveSocket, ws_max_size=2**23 + 8
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket_]})
    thread.start()
    try:
        yield f"127.0.0.1:{socket_.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        socket_.close()
