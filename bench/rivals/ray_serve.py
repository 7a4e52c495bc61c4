"""Ray Serve with `@serve.batch`: clips of several callers go through one call of a replica."""

import io
import signal
import threading
from pathlib import Path
from typing import Any

import ray
from ray import serve
from starlette.requests import Request

from bench.rivals import calls


class EgoPack:
    """One replica."""

    def __init__(self, bundle: Path, threads: int | None) -> None:
        """Loads the model."""
        self._predictor = calls.load(bundle, threads)

    @serve.batch(max_batch_size=8, batch_wait_timeout_s=0.01)  # type: ignore[untyped-decorator]
    async def _answer(self, bodies: list[bytes]) -> list[dict[str, Any]]:
        """Decodes clips one by one, encodes and reasons about them together."""
        decoded = []
        for body in bodies:
            with calls.on_disk(io.BytesIO(body)) as path:
                decoded.append(calls.decode(self._predictor, path))
        return calls.answer_together(self._predictor, decoded)

    async def __call__(self, request: Request) -> dict[str, Any]:
        """Answers one caller."""
        async with request.form() as form:
            video = form["video"]
            assert not isinstance(video, str)
            body = await video.read()
        found: dict[str, Any] = await self._answer(body)
        return found


def main() -> None:
    """Serves until a signal stops it."""
    arguments = calls.parse_arguments(__doc__)
    ray.init(num_cpus=max(2, arguments.workers), include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": arguments.port})
    deployment = serve.deployment(
        num_replicas=arguments.workers, max_ongoing_requests=64, ray_actor_options={"num_cpus": 1}
    )(EgoPack)
    serve.run(deployment.bind(arguments.bundle, arguments.threads), route_prefix="/predict")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    stop.wait()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
