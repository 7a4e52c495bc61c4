"""Checks of a request's head before anything else: its size, the host it names, the page it is of.

Without keys, a site that can make a browser of this machine send a request could use the server: a
name that resolves to loopback (DNS rebinding), or a form on another site (CSRF).
"""

import ipaddress
import socket
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.types import Scope

from server.errors import CrossSite, HeadersTooLarge, UriTooLong, WrongHost
from server.settings.checks import is_loopback
from server.settings.settings import Settings

MAX_HEADERS = 100
MAX_HEADER_BYTES = 32 * 1024
"""Names and values together."""

MAX_TARGET_BYTES = 16 * 1024
"""Path and query as sent."""

MAX_PARAMETERS = 1024
"""Query parameters; more segments than that belong into the JSON part."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
PROBES = frozenset({"/livez", "/readyz"})
"""Asked under any name: orchestrators use the address of a pod."""


def check_size(scope: Scope) -> None:
    """Raises if the head is larger than any client's.

    Raises:
        HeadersTooLarge: too many headers, or too many bytes in them.
        UriTooLong: the path or the query is too long, or has too many parameters.
    """
    headers = scope["headers"]
    if len(headers) > MAX_HEADERS:
        raise HeadersTooLarge(f"send at most {MAX_HEADERS} headers")
    if sum(len(name) + len(value) for name, value in headers) > MAX_HEADER_BYTES:
        raise HeadersTooLarge(f"send at most {MAX_HEADER_BYTES} bytes of headers")
    query: bytes = scope["query_string"]
    target_bytes = len(scope.get("raw_path") or scope["path"].encode()) + len(query)
    if target_bytes > MAX_TARGET_BYTES:
        raise UriTooLong(f"send at most {MAX_TARGET_BYTES} bytes of path and query")
    if query.count(b"&") >= MAX_PARAMETERS:
        raise UriTooLong(f"send at most {MAX_PARAMETERS} query parameters")


class Hosts:
    """The names under which the server answers, and the pages that may change its state."""

    def __init__(self, settings: Settings) -> None:
        names = settings.allowed_names
        self._names = frozenset(name for name in names if not name.startswith("*"))
        self._suffixes = tuple(name[1:] for name in names if name.startswith("*."))
        # With keys, a page under another name has none that it could send.
        self._is_any = "*" in names or (not names and settings.has_keys)
        self._bound = settings.host.lower()

    def check(self, scope: Scope, headers: Headers) -> None:
        """Raises if the request is for another host, or of a page of another site.

        Raises:
            WrongHost: `Host` is no name of this server.
            CrossSite: `Origin` or `Sec-Fetch-Site` says so of a request that may change state.
        """
        hosts = headers.getlist("host")
        if not self._is_any and scope["path"] not in PROBES:
            for host in hosts:
                if not self._is_ours(host_name(host)):
                    raise WrongHost("add the host to EGOPACK_ALLOWED_HOSTS if it is this server's")
        # A WebSocket is opened by GET, and what comes through it changes state.
        if scope["type"] == "websocket" or scope["method"] not in SAFE_METHODS:
            self._check_site(headers, [host.lower() for host in hosts])

    def _is_named(self, name: str) -> bool:
        return name in self._names or name.endswith(self._suffixes or ("\0",))

    def _is_ours(self, name: str) -> bool:
        if self._is_named(name) or is_loopback(name) or name.endswith(".localhost"):
            return True
        if self._bound not in ("", "0.0.0.0", "::"):
            return name == self._bound
        # Reached from elsewhere: addresses cannot be rebound, unlike names.
        return _is_address(name) or name == socket.gethostname().lower()

    def _check_site(self, headers: Headers, hosts: Sequence[str]) -> None:
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is None and site is None:
            return  # no browser
        authority = (origin or "").lower().partition("://")[2]
        if authority and self._is_named(host_name(authority)):
            return
        # Sec-Fetch-Site is exact where it is sent; a proxy may have changed the Host.
        is_own = site in ("same-origin", "none") if site is not None else authority in hosts
        if not is_own:
            raise CrossSite(
                "a page of another site sent this request; if the page is this server's behind a "
                "proxy, add its host to EGOPACK_ALLOWED_HOSTS"
            )


def host_name(host: str) -> str:
    """Returns the name in a `Host` header in lower case, without port and final dot."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
