"""The running process: listens, says where, gives up when it cannot serve, stops gracefully."""

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
from server.engine.engine import Engine
from server.settings.settings import Settings

EXIT_SIGNALLED = 128
"""Plus the signal: how a process ends that is told twice to stop."""

SWITCH_S = 0.001
"""How long a thread may keep the interpreter while the event loop waits.

With Python's own 5 ms, once for each busy thread, a refusal would take as long as that.
"""


class _Server(uvicorn.Server):
    """uvicorn's, but a graceful stop is a success and a broken engine is an end.

    SIGTERM turns readiness off; new work is still taken until balancers had time to notice, then
    refused, and what was accepted is finished. SIGINT, from a terminal, skips the first wait. A
    second signal ends the process at once. SIGHUP reads keys and bundle again.
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
        # The socket stays open, so that whoever still comes is told rather than cut off.
        self._engine.life.drain()
        is_late = time.monotonic() >= self._drain_at_s + self._settings.shutdown_timeout_s
        return is_late or not self.server_state.tasks

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begins to stop. uvicorn's own would end the process by the signal."""
        if self._drain_at_s is not None:
            self.config.app.state.spool.close()  # type: ignore[union-attr]
            os._exit(EXIT_SIGNALLED + sig)  # not even threads that decode are waited for
        self._engine.life.stop_advertising()
        wait_s = self._settings.drain_delay_s if sig == signal.SIGTERM else 0.0
        self._drain_at_s = time.monotonic() + wait_s

    def _start_reload(self) -> None:
        self.config.app.state.keys.read_again()  # type: ignore[union-attr]
        self._reload = asyncio.get_running_loop().create_task(self._engine.reload())


def serve(settings: Settings, engine: Engine | None = None) -> str | None:
    """Serves until SIGTERM or SIGINT, finishing what was accepted.

    Args:
        settings: where to listen, and limits.
        engine: what answers; by default the one the settings describe.

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
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=settings.keep_alive_s,
            timeout_graceful_shutdown=1,  # by then the time for that has been given
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
    except SystemExit:  # uvicorn's word for an address it cannot listen on; it logged why
        return f"cannot listen on {settings.host} port {settings.port}"
    return None if engine.life.failure is None else str(engine.life.failure)
