"""The running process: listens, says where, gives up when it cannot serve, stops gracefully."""

import socket
import sys
from types import FrameType

import uvicorn

from server.app import create_app
from server.engine import Engine
from server.settings import Settings


class _Server(uvicorn.Server):
    """uvicorn's, but a graceful stop is a success and a broken engine is an end."""

    def __init__(self, config: uvicorn.Config, engine: Engine) -> None:
        super().__init__(config)
        self._engine = engine

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for server in self.servers:
            host, port = server.sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            sys.stdout.write(f"EgoPack server: try it at http://{shown}:{port}/docs\n")
            sys.stdout.flush()

    async def on_tick(self, counter: int) -> bool:
        return self._engine.failure is not None or await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Turns readiness off first. uvicorn's own would end the process by the signal."""
        self._engine.drain()
        self.force_exit = self.should_exit  # a second signal means now
        self.should_exit = True


def serve(settings: Settings, engine: Engine | None = None) -> str | None:
    """Serves until SIGTERM or SIGINT, finishing what was accepted.

    Args:
        settings: where to listen, and limits.
        engine: what answers; by default the one the settings describe.

    Returns:
        Why it could not serve; None after a graceful stop.
    """
    engine = engine or Engine.from_settings(settings)
    server = _Server(
        uvicorn.Config(
            create_app(settings, engine),
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=settings.shutdown_timeout_s,
        ),
        engine,
    )
    try:
        server.run()
    except SystemExit:  # uvicorn's word for an address it cannot listen on; it logged why
        return f"cannot listen on {settings.host} port {settings.port}"
    return None if engine.failure is None else str(engine.failure)
