"""How often a caller may ask. The only home of `limits`."""

import ipaddress
import math
import time

from limits import RateLimitItem, parse_many
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from server.errors import RateLimited


def parse_rate(text: str) -> list[RateLimitItem]:
    """Returns the limits in words like `60/minute` or `5/second;1000/day`.

    Raises:
        ValueError: it is none.
    """
    try:
        return parse_many(text)
    except ValueError as error:
        raise ValueError(f"expected a rate limit such as 60/minute, got {text!r}") from error


class Rates:
    """Counts requests per caller in sliding windows, in memory."""

    def __init__(self, rate: str | None) -> None:
        self._items = parse_rate(rate) if rate else []
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage()) if rate else None

    def check(self, caller: str) -> None:
        """Counts a request.

        Raises:
            RateLimited: the caller has had its share.
        """
        if self._limiter is None:
            return
        for item in self._items:
            if not self._limiter.hit(item, caller):
                reset_s = self._limiter.get_window_stats(item, caller).reset_time
                raise RateLimited(max(1, math.ceil(reset_s - time.time())))


def rate_limit_key(address: str) -> str:
    """Returns what counts as one caller: an IPv4 address, or a /64 of IPv6, handed out whole."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False).network_address)
