"""Deadlines: what is not done in time is given up, and says so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from server.errors import DeadlineExceeded


@asynccontextmanager
async def until(
    deadline_s: float, detail: str = "the deadline passed before the answer was ready"
) -> AsyncIterator[None]:
    """Cancels what is inside once an instant has passed.

    Args:
        deadline_s: on the running loop's clock.
        detail: what the caller is told.

    Raises:
        DeadlineExceeded: it has passed.
    """
    try:
        async with asyncio.timeout_at(deadline_s):
            yield
    except TimeoutError as error:
        raise DeadlineExceeded(detail) from error
