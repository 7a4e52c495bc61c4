"""Where in its life the server is, and who may still come.

starting -> ready -> leaving -> draining, and from anywhere broken. While ready or leaving it can be
unhealthy: canaries do not come back, and it takes nothing until one does.
"""

from typing import Literal

from server.errors import Draining, NotReady, Unhealthy

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
