"""Authentication and rate limits: API keys kept as hashes, requests counted per caller."""

import base64
import hashlib
import hmac
import ipaddress
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress

from limits import RateLimitItem
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.datastructures import Headers

from server.errors import RateLimited, Unauthenticated
from server.settings.checks import check_keys, parse_rate

MAX_KNOWN = 4096
"""Addresses and keys remembered as let in."""

KEY_SUBPROTOCOL = "egopack.key."
"""Before an API key in base64url, as one of the subprotocols that a page offers."""

logger = logging.getLogger(__name__)


class Keys:
    """The API keys in force; without any, requests need no key."""

    def __init__(
        self,
        read: Callable[[], Mapping[str, str]],
        check: Callable[[Mapping[str, str]], None] = check_keys,
    ) -> None:
        """Keeps the keys' hashes.

        Args:
            read: returns name -> key, as they are now.
            check: raises ValueError of keys that cannot be in force.
        """
        self._read, self._check = read, check
        self._digests = _digests(read())

    def read_again(self) -> None:
        """Replaces the keys by those that `read` returns now; invalid ones change nothing.

        Never raises; the result is logged.
        """
        try:
            keys = self._read()
            self._check(keys)
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
        digest = _digest(_given(headers))
        found = None
        for name, known in self._digests.items():
            if hmac.compare_digest(digest, known):
                found = name
        return found

    def is_guess(self, headers: Headers) -> bool:
        """Whether a key was sent that is none of those in force."""
        return bool(self._digests and _given(headers)) and self.caller(headers) is None

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
        if self._limiter is not None:
            self._each(self._limiter.hit, caller)

    def look(self, caller: str) -> None:
        """As `check`, without counting."""
        if self._limiter is not None:
            self._each(self._limiter.test, caller)

    def _each(self, has_room: Callable[[RateLimitItem, str], bool], caller: str) -> None:
        assert self._limiter is not None
        for item in self._items:
            if not has_room(item, caller):
                reset_s = self._limiter.get_window_stats(item, caller).reset_time
                raise RateLimited(max(1, math.ceil(reset_s - time.time())))


class GuessLimiter:
    """Wrong keys per address.

    Over the limit every key from there is refused, the right one too: otherwise a right guess would
    still get an answer. Callers who were let in from there before go on.
    """

    def __init__(self, rate: str) -> None:
        self._limiter = RateLimiter(rate or None)
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    def check(self, address: str, caller: str | None, *, is_guess: bool) -> None:
        """Counts a wrong key.

        Args:
            address: the caller's, as `rate_limit_key` returns it.
            caller: name of the key; None: none, or a wrong one.
            is_guess: a wrong one.

        Raises:
            RateLimited: too many wrong keys came from the address.
        """
        if is_guess:
            self._limiter.check(address)
        elif caller is not None:
            if (address, caller) not in self._known:
                self._limiter.look(address)
                self._known[address, caller] = None
                if len(self._known) > MAX_KNOWN:
                    self._known.popitem(last=False)
            self._known.move_to_end((address, caller))


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


def with_key(headers: Headers) -> Headers:
    """Returns the headers of a WebSocket's upgrade, with a key among its subprotocols as a bearer.

    Pages can set no other header of it; a key in the URL would be logged on the way.
    """
    for offered in headers.get("sec-websocket-protocol", "").split(","):
        if offered.strip().startswith(KEY_SUBPROTOCOL) and "authorization" not in headers:
            text = offered.strip().removeprefix(KEY_SUBPROTOCOL)
            with suppress(ValueError):
                key = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
                bearer = b"Bearer " + key.encode("latin-1")  # as headers are read
                return Headers(raw=[*headers.raw, (b"authorization", bearer)])
    return headers


def _given(headers: Headers) -> str:
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    return bearer if scheme.lower() == "bearer" else headers.get("x-api-key", "")


def _digests(keys: Mapping[str, str]) -> dict[str, bytes]:
    return {name: _digest(key) for name, key in keys.items()}


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
