"""`python -m server --ray`: starts or joins a Ray cluster, deploys to it and handles signals."""

import logging
import os
import queue
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Any

import ray
from ray import serve
from ray.serve.config import HTTPOptions

from server.cluster.app import NAME, application
from server.cluster.messages import Tuning
from server.cluster.proxy import CALLBACK
from server.settings.settings import Settings
from weights.bundle import load_bundle
from weights.errors import WeightsError

logger = logging.getLogger(__name__)

PROXY_VARIABLE = "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH"


def serve_on_ray(settings: Settings) -> str | None:
    """Serves until SIGTERM or SIGINT, and finishes accepted work.

    SIGTERM turns readiness off, and new work is accepted for another `drain_delay_s`; SIGINT skips
    that delay; SIGHUP reloads the bundle in every process. A cluster that was joined keeps running,
    one that was started here ends with the server.

    Args:
        settings: for every process.

    Returns:
        Why it could not serve; None after a graceful stop.
    """
    try:
        load_bundle(settings.bundle)  # replicas do too, but here the error is reported at once
    except WeightsError as error:
        return str(error)
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()
    with _cluster(settings), _signals_into(signals):
        port = settings.port or _free_port(settings.host)
        if settings.ray_address is None and (missing := _missing_gpus(settings)):
            return (
                f"{settings.most_encoders} encoders need a GPU each: {missing} more than there are"
            )
        try:
            # Without Serve's request timeout: the engine has deadlines, event streams last hours.
            serve.start(
                http_options=HTTPOptions(
                    host=settings.host, port=port, keep_alive_timeout_s=settings.keep_alive_s
                )
            )
            _deploy(settings, Tuning(), waits=True)
        except Exception as error:
            logger.debug("serve.run", exc_info=error)
            return _reason() or str(error)
        try:
            if not _listens(settings.host, port):
                return (
                    f"nothing listens on {settings.host} port {port}: Serve runs on this cluster "
                    "already, on another port; shut it down first, or deploy to it from a file"
                )
            shown = f"[{settings.host}]" if ":" in settings.host else settings.host
            sys.stdout.write(f"EgoPack server: open http://{shown}:{port}/\n")
            sys.stdout.flush()
            _wait_for_stop(settings, signals)
        finally:
            serve.delete(NAME)
    return None


def _wait_for_stop(settings: Settings, signals: "queue.SimpleQueue[int]") -> None:
    """Returns after a signal to stop and the drain delay; redeploys on SIGHUP."""
    tuning = Tuning()
    while (number := signals.get()) == signal.SIGHUP:
        tuning = replace(tuning, revision=tuning.revision + 1)
        _deploy(settings, tuning)
    if number == signal.SIGTERM:
        until_s = time.monotonic() + settings.drain_delay_s
        _deploy(settings, replace(tuning, is_leaving=True))
        time.sleep(max(0.0, until_s - time.monotonic()))


def _deploy(settings: Settings, tuning: Tuning, *, waits: bool = False) -> None:
    """Deploys the application or its changes; with `waits`, returns once it runs."""
    target = serve.RunTarget(application(settings, tuning), name=NAME)
    serve.run_many([target], wait_for_applications_running=waits)


@contextmanager
def _cluster(settings: Settings) -> Iterator[None]:
    """Joins a cluster, or starts one on this machine and ends it."""
    if settings.ray_address is not None:
        if PROXY_VARIABLE not in os.environ:
            logger.warning("without %s=%s on its nodes, their proxies send plain text when no "
                           "front end runs", PROXY_VARIABLE, CALLBACK)  # fmt: skip
        ray.init(settings.ray_address, logging_level=logging.WARNING)
    else:
        # Inherited by the processes of the cluster.
        os.environ.setdefault(PROXY_VARIABLE, CALLBACK)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        needed = settings.front_ends + settings.most_encoders * settings.encoder_cpus
        ray.init(
            num_cpus=max(os.cpu_count() or 1, needed),
            include_dashboard=False,
            logging_level=logging.WARNING,
        )
    try:
        yield
    finally:
        if settings.ray_address is None:
            serve.shutdown()
        ray.shutdown()


@contextmanager
def _signals_into(signals: "queue.SimpleQueue[int]") -> Iterator[None]:
    """Puts signals into a queue; a second one to stop ends the process at once."""
    is_stopping = False

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal is_stopping
        if number != signal.SIGHUP:
            if is_stopping:
                sys.exit(128 + number)
            is_stopping = True
        signals.put(number)

    handled = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.signal(number, handle) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _missing_gpus(settings: Settings) -> int:
    """Returns how many GPUs this machine lacks; a joined cluster may still scale up."""
    wanted = settings.most_encoders if settings.device.startswith("cuda") else 0
    return max(0, wanted - int(ray.cluster_resources().get("GPU", 0)))


def _reason() -> str | None:
    """Returns the last line of the first failed deployment's message."""
    applications: dict[str, Any] = serve.status().applications
    if NAME not in applications:
        return None
    for deployment in applications[NAME].deployments.values():
        lines = [line.strip() for line in deployment.message.splitlines() if line.strip()]
        if lines and deployment.status != "HEALTHY":
            return str(lines[-1])
    return None


def _listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
