"""Ray Serve application of the two deployments, for `serve build`, `serve deploy` and `serve run`.

Settings come from `EGOPACK_*` variables; arguments of the application, as in
`deploy/ray/serve.yaml`, override them.
"""

from dataclasses import asdict
from typing import Any

from ray import serve
from ray.serve.config import AutoscalingConfig

from server import __version__
from server.cluster.encoder_deployment import Encoder
from server.cluster.frontend_deployment import Front
from server.cluster.messages import Tuning
from server.settings.settings import Settings

NAME = "egopack"
"""Name of the application."""

MAX_ONGOING = 256
"""Serve's limit of concurrent requests per replica: far above that of our own admission control.

Serve's limit on queued requests stays unset: it counts requests that are merely being routed, and
refuses in plain text.
"""

ONGOING_PARTS = 2.0
"""Autoscaling target: average number of parts of batches on an encoder."""


def app(arguments: dict[str, Any]) -> serve.Application:
    """Returns the application.

    Args:
        arguments: settings by name.

    Raises:
        ValueError: a setting is wrong.
    """
    return application(Settings(**{"ray": True} | arguments))


def application(settings: Settings, tuning: Tuning | None = None) -> serve.Application:
    """Returns the application that the settings describe.

    Args:
        settings: checked by the caller.
        tuning: changes since the start.
    """
    tuning = tuning or Tuning()
    return _deployment(
        Front,
        user_config=asdict(tuning),
        num_replicas=settings.front_ends,
        graceful_shutdown_timeout_s=settings.shutdown_timeout_s,
        graceful_shutdown_wait_loop_s=0.5,
        ray_actor_options={"num_cpus": 1},
    ).bind(settings, encoder_deployment(settings, tuning))


def encoder_deployment(settings: Settings, tuning: Tuning) -> serve.Application:
    """Returns the encoder deployment, which front ends call."""
    return _deployment(
        Encoder,
        user_config=asdict(tuning),
        health_check_timeout_s=settings.canary_timeout_s + 5,
        graceful_shutdown_wait_loop_s=0.5,
        ray_actor_options={
            "num_cpus": settings.encoder_cpus,
            "num_gpus": int(settings.device.startswith("cuda")),
        },
        **_number_of_encoders(settings),
    ).bind(settings)


def _deployment(cls: type, **options: Any) -> serve.Deployment:
    """Returns a deployment with our version as its code version.

    Without it, a `serve.run` with other values would replace every replica, not reconfigure it.
    """
    made = serve.deployment(
        cls,
        name=cls.__name__,
        max_ongoing_requests=MAX_ONGOING,
        logging_config={"enable_access_log": False},  # our middleware logs requests
        **options,
    )
    return made.options(version=__version__, _internal=True)


def _number_of_encoders(settings: Settings) -> dict[str, Any]:
    if settings.most_encoders == settings.encoders:
        return {"num_replicas": settings.encoders}
    return {
        "autoscaling_config": AutoscalingConfig(
            min_replicas=settings.encoders,
            max_replicas=settings.most_encoders,
            target_ongoing_requests=ONGOING_PARTS,
            upscale_delay_s=30,
            downscale_delay_s=600,
        )
    }
