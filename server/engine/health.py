"""The watch: proof, never older than half a minute, that a clip sent now would be answered.

Every answer is a proof. Without one for a while, or after trouble with the device, a canary is
sent down the whole road; two in a row that do not come back mean that nothing would. Where the
device is at fault, only a new process helps.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal

from server.errors import Draining, NotReady, Unhealthy
from server.scheduling.out_of_memory import is_device_error
from server.telemetry.metrics import Metrics

State = Literal["starting", "ready", "leaving", "draining", "broken"]


class Lifecycle:
    """The state, and what it means for new work.

    Attributes:
        state: where in its life it is.
        failure: why it is broken.
        is_healthy: clips are being answered, as far as known.
    """

    def __init__(self) -> None:
        self.state: State = "starting"
        self.failure: BaseException | None = None
        self.is_healthy = True

    def start(self) -> bool:
        """Becomes ready, unless told to stop meanwhile; returns whether it is."""
        if self.state == "starting":
            self.state = "ready"
        return self.state == "ready"

    def stop_advertising(self) -> None:
        """Asks balancers to look elsewhere, while whoever comes is still served."""
        if self.state in ("starting", "ready"):
            self.state = "leaving"

    def drain(self) -> None:
        """Refuses new work from here on; what was accepted is finished."""
        if self.state != "broken":
            self.state = "draining"

    def fail(self, error: BaseException) -> None:
        """Is of no more use; the process ends and is started again by whoever watches it."""
        self.failure, self.state = error, "broken"

    def require_ready(self) -> None:
        """Raises unless balancers should send new work.

        Raises:
            NotReady: starting or broken.
            Unhealthy: canaries do not come back.
            Draining: about to stop, or stopping.
        """
        if self.state == "leaving":
            raise Draining("the server is about to stop")
        self.require_open()

    def require_open(self) -> None:
        """Raises unless new work is taken.

        Raises:
            NotReady: starting or broken.
            Unhealthy: canaries do not come back.
            Draining: stopping.
        """
        if self.state == "draining":
            raise Draining("the server is stopping")
        if self.state not in ("ready", "leaving"):
            raise NotReady("the server is not ready")
        if not self.is_healthy:
            raise Unhealthy("the model does not answer")


logger = logging.getLogger(__name__)

MAX_FAILURES = 2
RETRY_S = 1.0
"""Between a canary that failed and the next."""


class Watchdog:
    """Sends canaries while nobody else proves that the server works."""

    def __init__(
        self,
        send: Callable[[], Awaitable[object]],
        *,
        life: Lifecycle,
        metrics: Metrics,
        every_s: float,
        timeout_s: float,
    ) -> None:
        """Watches over a life.

        Args:
            send: takes a canary through every stage.
            life: is told whether canaries come back.
            metrics: where they are timed.
            every_s: longest time without proof.
            timeout_s: longest time a canary may take.
        """
        self._send, self._life, self._metrics = send, life, metrics
        self._every_s, self._timeout_s = every_s, timeout_s
        self._doubted = asyncio.Event()
        self._due_s = 0.0
        self._failures = 0

    def confirm(self) -> None:
        """A clip has been answered."""
        self._failures = 0
        self._life.is_healthy = True
        self._due_s = time.monotonic() + self._every_s

    def suspect(self) -> None:
        """The device made trouble: look at once."""
        self._doubted.set()

    async def run(self) -> None:
        """Watches until cancelled, or until the device is lost."""
        self.confirm()
        while self._life.failure is None:
            await self._until_due()
            await self._look()

    async def _until_due(self) -> None:
        while (left_s := self._due_s - time.monotonic()) > 0 and not self._doubted.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    await self._doubted.wait()
        self._doubted.clear()

    async def _look(self) -> None:
        started_s = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._send()
        except Exception as error:  # whatever it is, a caller would have met it too
            self._fail(error)
        else:
            self._metrics.canary_s.observe(time.monotonic() - started_s)
            self.confirm()

    def _fail(self, error: Exception) -> None:
        self._metrics.canary_failures.inc()
        self._failures += 1
        self._doubted.clear()  # its own trouble is known now
        self._due_s = time.monotonic() + RETRY_S
        logger.error("a canary did not come back (%d)", self._failures, exc_info=error)
        if self._failures < MAX_FAILURES:
            return
        if is_device_error(error):  # it stays; the next process may find the device well again
            self._life.fail(error)
        else:
            self._life.is_healthy = False
