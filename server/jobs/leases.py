"""Leases watched by a monotonic clock: one ends when it was not renewed for its length.

A server compares what it saw of a lease with what it sees later, so that neither a step of a
machine's clock nor a difference between two machines' clocks ends a lease.
"""

import threading
from collections.abc import Mapping

Stamp = tuple[int, float | None]
"""A claim's token, and the end of the lease as its worker wrote it; a renewal changes it."""


class LeaseWatch:
    """What was seen of each lease, and when first; shared by threads."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[Stamp, float]] = {}
        self._outages = 0
        self._lock = threading.Lock()

    def note(self, job_id: str, stamp: Stamp, *, clock_s: float) -> None:
        """Notes a lease that this process claimed or renewed."""
        with self._lock:
            self._seen[job_id] = stamp, clock_s

    def abandoned(
        self, leases: Mapping[str, Stamp], *, clock_s: float, lease_s: float, outages: int
    ) -> dict[str, Stamp]:
        """Returns the leases that were not renewed for longer than `lease_s` seconds.

        Args:
            leases: all leases now, by job.
            clock_s: now, in seconds of a clock that never steps.
            lease_s: length of a lease.
            outages: how often the store did not answer so far. After an outage every watch begins
                again: no worker could renew meanwhile.
        """
        with self._lock:
            if outages != self._outages:
                self._outages, self._seen = outages, {}
            before, self._seen = self._seen, {}
            for job_id, stamp in leases.items():
                seen = before.get(job_id)
                is_same = seen is not None and seen[0] == stamp
                self._seen[job_id] = seen if seen and is_same else (stamp, clock_s)
            return {
                job_id: stamp
                for job_id, (stamp, since_s) in self._seen.items()
                if clock_s - since_s > lease_s
            }
