"""ASGI application factory: settings and engine -> FastAPI app."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from server import __version__
from server.api import openapi
from server.api.access import Keys
from server.api.clip_request import clip_spool
from server.api.events.feed import EventFeed
from server.api.job_intake import Intake
from server.api.middleware import GatewayMiddleware, install_handlers
from server.api.routes import (
    backpack,
    clips,
    features,
    health,
    live,
    models,
    oip,
    predictions,
    skills,
)
from server.api.routes import jobs as job_routes
from server.api.uploads.receive import UploadReceiver
from server.api.uploads.watch import SpoolWatch
from server.engine.engine import Engine
from server.jobs.service import Jobs
from server.live.registry import LiveRegistry
from server.playground import page
from server.scheduling.shares import Shares
from server.schemas.metadata import Limits
from server.settings.settings import Settings
from server.teaching.service import Teaching

ROUTERS = (
    predictions.router,
    job_routes.router,
    features.router,
    backpack.router,
    clips.router,
    skills.router,
    models.router,
    oip.router,
    health.router,
    live.router,
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
    spool = clip_spool(engine)
    limits = Limits.of(settings).model_dump()
    keys = Keys(lambda: settings.keys, settings.check_keys)
    teaching = Teaching(engine)
    jobs = Jobs(engine, limits, teach=teaching.teach if settings.teaches else None)
    registry = LiveRegistry(engine)
    intake = Intake(engine, jobs)

    app = FastAPIOffline(
        title="EgoPack Server",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lambda _: _running(engine, spool, jobs, intake, registry, teaching),
        redoc_url=None,
        redirect_slashes=False,  # a redirect would name the host behind a proxy
        static_url="/docs/static",
    )
    app.state.engine = engine
    app.state.keys = keys
    app.state.limits = limits
    app.state.spool = spool
    app.state.jobs = jobs
    app.state.live = registry
    app.state.teaching = teaching
    app.state.intake = intake
    app.state.feed = EventFeed(
        jobs.store,
        jobs.news,
        places=Shares(settings.max_event_streams, settings.max_caller_share),
        is_open=lambda: jobs.is_open,
    )
    install_handlers(app, limits, [route for router in ROUTERS for route in router.routes])
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


@asynccontextmanager
async def _running(
    engine: Engine,
    spool: UploadReceiver,
    jobs: Jobs,
    intake: Intake,
    registry: LiveRegistry,
    teaching: Teaching,
) -> AsyncIterator[None]:
    watch = SpoolWatch(spool.directory, partial(engine.life.report, "spool"))
    await watch.check()  # makes the spool, and sweeps those of killed servers
    # The engine starts in the background: /livez responds, /readyz is "starting" meanwhile.
    await jobs.start()
    with contextlib.suppress(OSError):  # without its folder no job is accepted
        await asyncio.to_thread(intake.directory.sweep)
    starting = asyncio.create_task(engine.start())
    watching = asyncio.create_task(watch.run())
    following = asyncio.create_task(registry.watch())
    looking = asyncio.create_task(teaching.watch())
    try:
        yield
    finally:
        await registry.stop()
        await jobs.stop()  # requeues running jobs, while the engine still runs
        starting.cancel()
        watching.cancel()
        following.cancel()
        looking.cancel()
        await asyncio.gather(starting, watching, following, looking, return_exceptions=True)
        await engine.stop()
        intake.directory.remove()
        spool.directory.remove()
