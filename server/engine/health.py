"""Health: the server's lifecycle states, and a watchdog that sends synthetic probes (canaries).

Every answered clip confirms that the server works. When none was answered for a while, or after a
device error, the watchdog sends the canary clip through every stage; two failures in a row make
the server unhealthy, or broken where the device failed, since only a new process recovers that.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from server.errors import Draining, NotReady, StorageUnavailable, Unhealthy
from server.scheduling.out_of_memory import is_device_error
from server.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)

CANARY = Path(__file__).with_name("canary.mp4")
"""The probe's clip: one second of moving bars."""

VITAL = ("spool",)
"""Parts without which no clip is answered: if one is ill, the server is not ready."""

MAX_FAILURES = 2
RETRY_S = 1.0
"""Between a failed probe and the next."""

State = Literal["starting", "ready", "leaving", "draining", "broken"]


class Lifecycle:
    """The lifecycle state, and whether it permits new work.

    starting -> ready -> leaving -> draining, and broken from any of them. An unhealthy server
    takes no new work until a probe succeeds.

    Attributes:
        state: "leaving" still takes work, but load balancers are asked to send none.
        failure: why it is broken.
        is_healthy: the last probes did not fail.
        parts: what a caller's request needs beside the model -> "ok" or what is wrong, in words
            that may be shown to any caller.
    """

    def __init__(self) -> None:
        self.state: State = "starting"
        self.failure: BaseException | None = None
        self.is_healthy = True
        self.parts: dict[str, str] = {}

    @property
    def is_ready(self) -> bool:
        """Whether `require_ready` passes."""
        return self.state == "ready" and self.is_healthy and not self._ill

    @property
    def _ill(self) -> list[str]:
        found = {part: self.parts.get(part, "ok") for part in VITAL}
        return [f"{part}: {state}" for part, state in found.items() if state != "ok"]

    def report(self, part: str, state: str) -> None:
        """Notes the state of a part, and logs a change of it."""
        before = self.parts.get(part, "ok")
        self.parts[part] = state
        if state != before:
            level = logging.INFO if state == "ok" else logging.ERROR
            logger.log(level, "%s: %s", part, state)

    def start(self) -> bool:
        """Becomes ready, unless it was stopped while starting; returns whether it is ready."""
        if self.state == "starting":
            self.state = "ready"
        return self.state == "ready"

    def stop_advertising(self) -> None:
        """Fails readiness checks from here on, while new work is still taken."""
        if self.state in ("starting", "ready"):
            self.state = "leaving"

    def drain(self) -> None:
        """Refuses new work from here on; admitted work is finished."""
        if self.state != "broken":
            self.state = "draining"

    def fail(self, error: BaseException) -> None:
        """Becomes broken; the process then ends, to be restarted by its supervisor."""
        self.failure, self.state = error, "broken"

    def require_ready(self) -> None:
        """Checks readiness: whether load balancers should send new work.

        Raises:
            Draining: leaving.
            StorageUnavailable: a part that every clip needs does not work.
            NotReady, Unhealthy, Draining: as `require_open` does.
        """
        if self.state == "leaving":
            raise Draining("the server is about to stop")
        self.require_open()
        if self._ill:
            raise StorageUnavailable(", ".join(self._ill))

    def require_open(self) -> None:
        """Checks whether new work is taken.

        Raises:
            NotReady: starting or broken.
            Unhealthy: the last probes failed.
            Draining: stopping.
        """
        if self.state == "draining":
            raise Draining("the server is stopping")
        if self.state not in ("ready", "leaving"):
            raise NotReady("the server is not ready")
        if not self.is_healthy:
            raise Unhealthy("the model does not answer")


class Watchdog:
    """Sends a synthetic probe, unless an answered clip confirms that the server works.

    Args:
        probe: takes the canary clip through every stage.
        life: set unhealthy or broken when probes fail.
        metrics: gets the probes' times and failures.
        every_s: longest time without an answered clip or probe.
        timeout_s: longest time of a probe.
    """

    def __init__(
        self,
        probe: Callable[[], Awaitable[object]],
        *,
        life: Lifecycle,
        metrics: Metrics,
        every_s: float,
        timeout_s: float,
    ) -> None:
        self._probe, self._life, self._metrics = probe, life, metrics
        self._every_s, self._timeout_s = every_s, timeout_s
        self._is_suspected = asyncio.Event()
        self._due_s = 0.0
        self._failures = 0

    def confirm(self) -> None:
        """A clip was answered, so the server works."""
        self._failures = 0
        self._life.is_healthy = True
        self._due_s = time.monotonic() + self._every_s

    def suspect(self) -> None:
        """The device raised an error: probe at once."""
        self._is_suspected.set()

    async def run(self) -> None:
        """Watches until cancelled, or until the server is broken."""
        self.confirm()
        while self._life.failure is None:
            await self._until_due()
            await self._send_probe()

    async def _until_due(self) -> None:
        while (left_s := self._due_s - time.monotonic()) > 0 and not self._is_suspected.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._is_suspected.wait()
        self._is_suspected.clear()

    async def _send_probe(self) -> None:
        started_s = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._probe()
        except Exception as error:  # any error here, a caller's clip would have met too
            self._on_failure(error)
        else:
            self._metrics.canary_s.observe(time.monotonic() - started_s)
            self.confirm()

    def _on_failure(self, error: Exception) -> None:
        self._metrics.canary_failures.inc()
        self._failures += 1
        self._is_suspected.clear()  # set by the probe's own device error
        self._due_s = time.monotonic() + RETRY_S
        logger.error("the canary failed (%d in a row)", self._failures, exc_info=error)
        if self._failures < MAX_FAILURES:
            return
        if is_device_error(error):  # does not pass in this process
            self._life.fail(error)
        else:
            self._life.is_healthy = False
