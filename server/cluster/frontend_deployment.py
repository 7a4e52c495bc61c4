"""Front-end deployment (Ray Serve): the whole server except for its encoder.

It runs the same application and engine as `python -m server`, with a remote encoder.
"""

import asyncio
import logging
import sys
import threading
from typing import Any

from fastapi import FastAPI
from ray import serve

from model.predict.predictor import Predictor
from server.api.access import Keys
from server.api.app import create_app
from server.api.serve import SWITCH_S
from server.cluster.messages import Tuning
from server.cluster.remote_encoder import EncoderPool, load_predictor
from server.engine.decode_stage import decode_pool
from server.engine.engine import Engine
from server.settings.settings import Settings
from server.telemetry import logs
from server.telemetry.telemetry import Telemetry
from server.telemetry.tracing import Tracing
from weights.bundle.files import manifest_sha256
from weights.storage.folders import Place, as_place

logger = logging.getLogger(__name__)


@serve.ingress()
class Front:
    """One replica; it accepts requests once its engine has passed a canary."""

    def __init__(self, settings: Settings, encoders: Any) -> None:
        """Builds the engine, which the application's lifespan starts.

        Args:
            settings: as for a server of one process.
            encoders: handle of the `Encoder` deployment.

        Raises:
            ValueError: there are several replicas and no shared job database.
        """
        logs.configure(settings.log_level)
        sys.setswitchinterval(SWITCH_S)
        settings.require_shared_jobs(serve.get_replica_context().world_size)
        # A GPU belongs to the encoders.
        self._settings = settings.model_copy(update={"device": "cpu"})
        self._pool = EncoderPool(
            encoders, shares=settings.most_encoders, timeout_s=settings.encoder_timeout_s
        )
        self._tuning: Tuning | None = None
        self._is_tuned = threading.Event()
        self._reloading: asyncio.Task[None] | None = None
        self._engine = Engine(
            self._settings,
            load=self._load,
            pool=decode_pool(settings),
            telemetry=Telemetry(tracing=Tracing.from_environment()),
            latest_sha256=lambda: manifest_sha256(self._bundle),
        )

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Returns the application; Serve calls this once, after the constructor."""
        app = create_app(self._settings, self._engine)
        self._keys: Keys = app.state.keys
        return app

    async def reconfigure(self, values: dict[str, Any]) -> None:
        """Waits for the engine at first; later reloads keys and bundle, as on `SIGHUP`.

        Args:
            values: of a `Tuning`.

        Raises:
            RuntimeError: the engine failed to start.
        """
        before, self._tuning = self._tuning, Tuning(**values)
        self._is_tuned.set()
        if self._tuning.is_leaving:
            self._engine.life.stop_advertising()
        if before is None:
            while self._engine.life.state == "starting":
                await asyncio.sleep(0.05)
            await self.check_health()
        elif (before.bundle, before.revision) != (self._tuning.bundle, self._tuning.revision):
            self._keys.read_again()
            self._reloading = asyncio.create_task(self._engine.reload())

    async def check_health(self) -> None:
        """Raises if the engine is broken; lost encoders do not make this replica unhealthy."""
        if self._engine.life.failure is not None:
            raise RuntimeError("the engine is broken") from self._engine.life.failure

    def _load(self) -> Predictor:
        """Loads the bundle, on the engine's threads."""
        self._is_tuned.wait()
        return load_predictor(self._bundle, self._pool)

    @property
    def _bundle(self) -> Place:
        assert self._tuning is not None
        given = self._tuning.bundle
        return self._settings.bundle if given is None else as_place(given)
