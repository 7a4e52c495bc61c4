"""Authentication and rate limits: API keys kept as hashes, requests counted per caller."""

import hashlib
import hmac
import ipaddress
import logging
import math
import time
from collections.abc import Callable, Mapping

from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.datastructures import Headers

from server.errors import RateLimited, Unauthenticated
from server.settings.checks import check_keys, parse_rate

logger = logging.getLogger(__name__)


class Keys:
    """The API keys in force; without any, requests need no key."""

    def __init__(self, read: Callable[[], Mapping[str, str]]) -> None:
        """Keeps the keys' hashes.

        Args:
            read: returns name -> key, as they are now.
        """
        self._read = read
        self._digests = _digests(read())

    def read_again(self) -> None:
        """Replaces the keys by those that `read` returns now; invalid ones change nothing.

        Never raises; the result is logged.
        """
        try:
            keys = self._read()
            check_keys(keys)
        except ValueError as error:
            logger.error("the API keys stay as they were: %s", error)
            return
        self._digests = _digests(keys)
        logger.info("API keys: %s", ", ".join(sorted(keys)) or "none")

    def caller(self, headers: Headers) -> str | None:
        """Returns the name of the key that was sent, or None if it is missing or wrong.

        Every key is compared, each in constant time, so that the response time depends neither on
        a key's beginning nor on its place in the list.
        """
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        given = bearer if scheme.lower() == "bearer" else headers.get("x-api-key", "")
        digest = _digest(given)
        found = None
        for name, known in self._digests.items():
            if hmac.compare_digest(digest, known):
                found = name
        return found

    def require(self, caller: str | None) -> None:
        """Raises unless the caller has a key, or none is needed.

        Raises:
            Unauthenticated: no key, or a wrong one.
        """
        if self._digests and caller is None:
            raise Unauthenticated("send the API key as a bearer token")


class RateLimiter:
    """Requests per caller in sliding windows, counted in memory."""

    def __init__(self, rate: str | None) -> None:
        self._items = parse_rate(rate) if rate else []
        # The storage runs a timer thread of its own.
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage()) if rate else None

    def check(self, caller: str) -> None:
        """Counts a request.

        Raises:
            RateLimited: the caller is over its limit.
        """
        if self._limiter is None:
            return
        for item in self._items:
            if not self._limiter.hit(item, caller):
                reset_s = self._limiter.get_window_stats(item, caller).reset_time
                raise RateLimited(max(1, math.ceil(reset_s - time.time())))


def rate_limit_key(address: str) -> str:
    """Returns what counts as one caller: an IPv4 address, or the /64 network of an IPv6 address."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False).network_address)


def _digests(keys: Mapping[str, str]) -> dict[str, bytes]:
    return {name: _digest(key) for name, key in keys.items()}


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
