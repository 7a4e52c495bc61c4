"""ASGI application factory: settings and engine -> FastAPI app."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from server import __version__
from server.api import openapi
from server.api.access import Keys
from server.api.job_intake import Intake
from server.api.middleware import GatewayMiddleware, install_handlers
from server.api.routes import backpack, features, health, models, oip, predictions
from server.api.routes import jobs as job_routes
from server.api.uploads.receive import UploadReceiver
from server.api.uploads.spool import DiskQuota
from server.engine.engine import Engine
from server.jobs.service import Jobs
from server.playground import page
from server.schemas.metadata import Limits
from server.settings.settings import Settings

ROUTERS = (
    predictions.router,
    job_routes.router,
    features.router,
    backpack.router,
    models.router,
    oip.router,
    health.router,
)
"""In the order of the API reference."""

DESCRIPTION = """Runs four tasks on an egocentric clip at once: action recognition (`ar`), long-term
anticipation (`lta`), object state change classification (`oscc`) and its point of no return
(`pnr`), with the evidence for each; skills that were added to the bundle are under `skills`. Errors
are `application/problem+json`; switch on their `code`."""


def create_app(settings: Settings, engine: Engine | None = None) -> FastAPI:
    """Returns the application; its engine starts and stops with it.

    Args:
        settings: limits, keys, folders.
        engine: default: the one that the settings describe.
    """
    engine = engine or Engine.from_settings(settings)
    spool = UploadReceiver(
        settings.spool_dir,
        max_bytes=settings.max_upload_bytes,
        timeout_s=settings.upload_timeout_s,
        quota=DiskQuota(settings.max_spool_bytes, engine.admission.retry_after_s),
        telemetry=engine.telemetry,
    )
    limits = Limits.of(settings).model_dump()
    keys = Keys(lambda: settings.keys, settings.check_keys)
    jobs = Jobs(engine, limits)
    intake = Intake(engine, jobs)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(lambda: spool.directory.path)  # sweeps those of killed servers
        # The engine starts in the background: /livez responds, /readyz is "starting" meanwhile.
        await jobs.start()
        starting = asyncio.create_task(engine.start())
        try:
            yield
        finally:
            await jobs.stop()  # requeues running jobs, while the engine still runs
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            await engine.stop()
            intake.close()
            spool.directory.remove()

    app = FastAPIOffline(
        title="EgoPack Server",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,  # a redirect would name the host behind a proxy
        static_url="/docs/static",
    )
    app.state.engine = engine
    app.state.keys = keys
    app.state.limits = limits
    app.state.spool = spool
    app.state.jobs = jobs
    app.state.intake = intake
    install_handlers(app, limits)
    for router in ROUTERS:
        app.include_router(router)
    if settings.metrics_port is None:
        app.include_router(health.metrics_router)
    page.install(app)
    app.add_middleware(
        GatewayMiddleware, settings=settings, keys=keys, limits=limits, telemetry=engine.telemetry
    )
    if settings.proxies:  # outside the gateway, which counts by address
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=settings.proxies)
    openapi.install(app, has_key=settings.has_keys)
    return app
