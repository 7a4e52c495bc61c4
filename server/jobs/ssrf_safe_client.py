"""SSRF-safe HTTP client for webhooks: posts to URLs of callers, never into a private network.

A name is resolved once, all its addresses must be public, and the connection goes to an address
that was checked, so that DNS rebinding cannot change it. Redirects are not followed.
"""

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx

MAX_RESPONSE_BYTES = 64 * 1024
"""Read from a response, and dropped, so that the peer can finish sending."""

MAX_URL_CHARS = 2048

_RESOLVERS = ThreadPoolExecutor(16, "resolver")
"""Apart from the threads of other work: a name server that does not answer takes one for long."""

_HOST = re.compile(rb"[A-Za-z0-9._:-]+")

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Host name and port -> addresses."""

_BLOCKED = [
    ipaddress.ip_network(net)
    for net in (
        "100.64.0.0/10",  # carrier-grade NAT
        "192.88.99.0/24",  # 6to4 relays
        "::/96",  # IPv4-compatible, deprecated
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",
        "2001::/32",  # Teredo
        "2002::/16",  # 6to4
        "fec0::/10",  # site-local
    )
]


class UrlRefused(Exception):
    """The URL is not allowed; the message may be shown to the caller who chose it."""


class DeliveryFailed(Exception):
    """The peer did not accept the message; the error names no address."""


class SsrfSafeClient:
    """Posts small bodies to public HTTPS addresses."""

    def __init__(
        self,
        *,
        timeout_s: float,
        allow_http: bool = False,
        allow_private: bool = False,
        resolve: Resolve | None = None,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        """Opens no connection.

        Args:
            timeout_s: of a post, from name resolution to the end of the response.
            allow_http: allow `http` too.
            allow_private: allow any address; for receivers in a private network.
            resolve: resolves names; default: the system's resolver.
            verify: how certificates are verified.
        """
        self._timeout_s = timeout_s
        self._schemes = ("https", "http") if allow_http else ("https",)
        self._allow_private = allow_private
        self._resolve = resolve or resolve_with_system
        self._verify = verify

    def check(self, url: str) -> httpx.URL:
        """Returns the parsed URL; its host is resolved, and checked again, by `post`.

        Raises:
            UrlRefused: it is not allowed.
        """
        try:
            parsed = httpx.URL(url)
            _ = parsed.host, parsed.port  # an international name is decoded here, and may be none
        except (httpx.InvalidURL, ValueError) as error:
            raise UrlRefused("it is not a URL") from error
        if len(url) > MAX_URL_CHARS:
            raise UrlRefused(f"it is longer than {MAX_URL_CHARS} characters")
        if parsed.scheme not in self._schemes or not parsed.host:
            raise UrlRefused(f"it does not begin with {' or '.join(self._schemes)}://HOST")
        if not _HOST.fullmatch(parsed.raw_host) or not 0 < _port(parsed) < 65536:
            raise UrlRefused("its host or port cannot be one")
        if parsed.userinfo or parsed.fragment:
            raise UrlRefused("it holds a user name, a password or a fragment")
        if (
            not self._allow_private
            and _parse(parsed.host) is not None
            and not is_public(parsed.host)
        ):
            raise UrlRefused("its address is not a public one")
        return parsed

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Posts once; returns the status, which is in the two hundreds.

        Raises:
            UrlRefused: the URL, or an address of its host, is not allowed.
            DeliveryFailed: it was not accepted.
        """
        parsed = self.check(url)
        try:
            async with asyncio.timeout(self._timeout_s):
                address = await self._address_of(parsed)
                return await self._send(parsed, address, body, headers)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise DeliveryFailed(f"no answer within {self._timeout_s:g} s") from error
        except httpx.HTTPError as error:
            raise DeliveryFailed(f"no connection ({type(error).__name__})") from error

    async def _address_of(self, url: httpx.URL) -> str:
        """The first address of the host, after a check of all of them."""
        try:
            addresses = await self._resolve(url.host, _port(url))
        except OSError as error:
            raise DeliveryFailed("the name of the host cannot be found") from error
        if not addresses:
            raise DeliveryFailed("the name of the host has no address")
        if not (self._allow_private or all(map(is_public, addresses))):
            raise UrlRefused("an address of its host is not a public one")
        return addresses[0]

    async def _send(
        self, url: httpx.URL, address: str, body: bytes, headers: Mapping[str, str]
    ) -> int:
        host = url.netloc.decode("ascii")
        request = httpx.Request(
            "POST",
            url.copy_with(host=address),  # not resolved again
            content=body,
            headers={**headers, "Host": host, "User-Agent": "egopack-server"},
            extensions={
                "sni_hostname": url.raw_host.decode("ascii"),
                "timeout": httpx.Timeout(self._timeout_s).as_dict(),
            },
        )
        # A bare transport: no proxy, netrc, cookies or redirects.
        async with httpx.AsyncHTTPTransport(verify=self._verify, trust_env=False) as transport:
            response = await transport.handle_async_request(request)
            try:
                await _read_some(response)
            finally:
                await response.aclose()
        if not response.is_success:  # redirects too
            raise DeliveryFailed(f"the answer was {response.status_code}")
        return response.status_code


async def resolve_with_system(host: str, port: int) -> list[str]:
    """Returns the addresses of a host, from the system's resolver."""
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_RESOLVERS, look_up)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: str) -> bool:
    """Whether an address belongs to the public internet, in any notation."""
    parsed = _parse(address.partition("%")[0])
    if parsed is None:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    if any(parsed in network for network in _BLOCKED if network.version == parsed.version):
        return False
    return parsed.is_global and not (parsed.is_multicast or parsed.is_reserved)


def _parse(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _port(url: httpx.URL) -> int:
    return url.port if url.port is not None else {"https": 443, "http": 80}[url.scheme]


async def _read_some(response: httpx.Response) -> None:
    taken = 0
    assert isinstance(response.stream, httpx.AsyncByteStream)
    async for chunk in response.stream:
        taken += len(chunk)
        if taken > MAX_RESPONSE_BYTES:
            return
