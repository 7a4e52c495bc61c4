"""Spool watch: writes what an upload would write, and reports whether that works."""

import asyncio
from collections.abc import Callable

from server.api.uploads.spool import SpoolDirectory

EVERY_S = 5.0
PATIENCE_S = 10.0
"""Longest time of a check: a folder on a network may hang."""


class SpoolWatch:
    """Checks a spool again and again.

    Args:
        directory: the spool.
        report: takes "ok" or what is wrong, in words that may be shown to any caller.
    """

    def __init__(self, directory: SpoolDirectory, report: Callable[[str], None]) -> None:
        self._directory, self._report = directory, report
        self._checking: asyncio.Task[str] | None = None

    async def check(self) -> None:
        """Checks once; one that hangs is waited for by the next, which starts none beside it."""
        if self._checking is None:
            self._checking = asyncio.create_task(asyncio.to_thread(self._directory.check))
        done, _ = await asyncio.wait({self._checking}, timeout=PATIENCE_S)
        if not done:
            self._report("does not answer")
            return
        checking, self._checking = self._checking, None
        self._report(checking.result())

    async def run(self) -> None:
        """Checks until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.check()
