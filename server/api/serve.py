"""Server process: uvicorn with graceful drain on SIGTERM, reload on SIGHUP, exit on failure."""

import asyncio
import os
import signal
import socket
import sys
import time
from types import FrameType

import uvicorn
from prometheus_client import start_http_server

from server.api.app import create_app
from server.api.protocol import HttpProtocol, LiveSocket
from server.engine.engine import Engine
from server.settings.settings import Settings

EXIT_SIGNALLED = 128
"""Plus the signal's number: exit status after a second signal to stop."""

SWITCH_S = 0.001
"""Interpreter switch interval in seconds.

With Python's default of 5 ms per busy thread, the event loop waits that long before each refusal.
"""


class _Server(uvicorn.Server):
    """uvicorn's server, with a graceful stop and an exit if the engine fails.

    SIGTERM turns readiness off; after `drain_delay_s`, in which load balancers notice, new work is
    refused and accepted work finished. SIGINT skips that delay. A second signal ends the process at
    once. SIGHUP reloads keys and bundle.
    """

    def __init__(self, config: uvicorn.Config, engine: Engine, settings: Settings) -> None:
        super().__init__(config)
        self._engine, self._settings = engine, settings
        self._drain_at_s: float | None = None
        self._reload: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._start_reload)
        for server in self.servers:
            host, port = server.sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            sys.stdout.write(f"EgoPack server: open http://{shown}:{port}/\n")
            sys.stdout.flush()

    async def on_tick(self, counter: int) -> bool:
        if self._engine.life.failure is not None or await super().on_tick(counter):
            return True
        if self._drain_at_s is None or time.monotonic() < self._drain_at_s:
            return False
        # The socket stays open: late requests get a problem instead of a reset connection.
        self._engine.life.drain()
        is_late = time.monotonic() >= self._drain_at_s + self._settings.shutdown_timeout_s
        return is_late or not self.server_state.tasks

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begins to stop; uvicorn's handler would end the process by the signal."""
        if self._drain_at_s is not None:
            self.config.app.state.spool.directory.remove()  # type: ignore[union-attr]
            os._exit(EXIT_SIGNALLED + sig)  # without waiting for decoding threads
        self._engine.life.stop_advertising()
        wait_s = self._settings.drain_delay_s if sig == signal.SIGTERM else 0.0
        self._drain_at_s = time.monotonic() + wait_s

    def _start_reload(self) -> None:
        self.config.app.state.keys.read_again()  # type: ignore[union-attr]
        self._reload = asyncio.get_running_loop().create_task(self._engine.reload())


def serve(settings: Settings, engine: Engine | None = None) -> str | None:
    """Serves until SIGTERM or SIGINT, and finishes accepted work.

    Args:
        settings: address, limits and the rest.
        engine: default: the one that the settings describe.

    Returns:
        Why it could not serve; None after a graceful stop.
    """
    sys.setswitchinterval(SWITCH_S)
    engine = engine or Engine.from_settings(settings)
    server = _Server(
        uvicorn.Config(
            create_app(settings, engine),
            host=settings.host,
            port=settings.port,
            http=HttpProtocol,
            ws=LiveSocket,
            ws_max_size=settings.live_message_bytes,
            ws_ping_interval=settings.live_ping_s,
            ws_ping_timeout=settings.live_ping_s,
            ws_per_message_deflate=False,  # a small message could stand for a large one
            proxy_headers=False,  # the app reads them, from the proxies of the settings
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=settings.keep_alive_s,
            timeout_graceful_shutdown=1,  # `on_tick` has waited already
        ),
        engine,
        settings,
    )
    if settings.metrics_port is not None:
        registry = engine.telemetry.metrics.registry
        try:
            start_http_server(settings.metrics_port, settings.host, registry)
        except OSError:
            return f"cannot listen on {settings.host} port {settings.metrics_port}"
    try:
        server.run()
    except SystemExit:  # raised by uvicorn, which has logged why
        return f"cannot listen on {settings.host} port {settings.port}"
    return None if engine.life.failure is None else str(engine.life.failure)
