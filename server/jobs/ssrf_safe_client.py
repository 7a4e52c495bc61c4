"""SafeClient: posts to addresses that callers chose, and never into our own network.

A name is resolved once, every address it has must be public, and the connection goes to one of
the addresses that were checked, so that a second look-up cannot lead elsewhere. Redirects are not
followed. The only home of outgoing HTTP.
"""

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping

import httpx

MAX_RESPONSE_BYTES = 64 * 1024
"""Nobody reads a response; this much of it is taken so that the peer can finish."""

MAX_URL_CHARS = 2048

_HOST = re.compile(rb"[A-Za-z0-9._:-]+")

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Host name and port -> addresses."""

_BLOCKED = [
    ipaddress.ip_network(net)
    for net in (
        "100.64.0.0/10",  # shared by carriers
        "192.88.99.0/24",  # 6to4 relays
        "::/96",  # an IPv4 address in the old notation
        "64:ff9b::/96",  # NAT64: an IPv4 address behind it
        "64:ff9b:1::/48",
        "2001::/32",  # Teredo
        "2002::/16",  # 6to4
        "fec0::/10",  # site-local
    )
]


class UrlRefused(Exception):
    """The URL may not be posted to; the message is fit for whoever chose it."""


class DeliveryFailed(Exception):
    """It was tried, and the peer did not take it; the message names no address."""


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
        """Opens nothing yet.

        Args:
            timeout_s: for everything from the look-up of the name to the end of the response.
            allow_http: take `http` too.
            allow_private: take any address; for receivers in one's own network.
            resolve: looks names up; default: the system's resolver.
            verify: how certificates are checked.
        """
        self._timeout_s = timeout_s
        self._schemes = ("https", "http") if allow_http else ("https",)
        self._allow_private = allow_private
        self._resolve = resolve or resolve_with_system
        self._verify = verify

    def check(self, url: str) -> httpx.URL:
        """Returns the parsed URL; looks nothing up, so it is no promise that it may be posted to.

        Raises:
            UrlRefused: what is wrong with it.
        """
        try:
            parsed = httpx.URL(url)
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
        if not self._allow_private and _is_address(parsed.host) and not is_public(parsed.host):
            raise UrlRefused("its address is not a public one")
        return parsed

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Posts once; returns the status, which is in the two hundreds.

        Raises:
            UrlRefused: the URL, or an address of its host, is not allowed.
            DeliveryFailed: it was not taken.
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
        """The first address of the host, once all of them have been found public."""
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
            url.copy_with(host=address),  # never looked up again
            content=body,
            headers={**headers, "Host": host, "User-Agent": "egopack-server"},
            extensions={
                "sni_hostname": url.raw_host.decode("ascii"),
                "timeout": httpx.Timeout(self._timeout_s).as_dict(),
            },
        )
        # A bare transport: no proxy or netrc of ours, no cookies, no redirects.
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
    """Returns what the system's resolver says of a host."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: str) -> bool:
    """Whether an address belongs to the public internet, whichever way it is written."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    if any(parsed in network for network in _BLOCKED if network.version == parsed.version):
        return False
    return parsed.is_global and not (parsed.is_multicast or parsed.is_reserved)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _port(url: httpx.URL) -> int:
    if url.port is not None:
        return url.port
    return 443 if url.scheme == "https" else 80


async def _read_some(response: httpx.Response) -> None:
    taken = 0
    assert isinstance(response.stream, httpx.AsyncByteStream)
    async for chunk in response.stream:
        taken += len(chunk)
        if taken > MAX_RESPONSE_BYTES:
            return
