"""Download of clips and annotations; only addresses of Label Studio's origin (SSRF protection).

Label Studio may redirect to where it keeps a clip, a few times, and never to this machine itself or
the addresses of a cloud's metadata.
"""

import io
import ipaddress
import json
import socket
import tempfile
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Self

import httpx

from clients.client import may_use_proxy

TIMEOUT_S = 60.0
"""Longest time without a byte of a clip."""

DOWNLOAD_S = 900.0
"""Longest time for a whole clip."""

MAX_REDIRECTS = 3

MAX_JSON_BYTES = 64 * 2**20
"""Of a project and of its annotations."""


class Token(httpx.Auth):
    """Authentication by a user's token: a legacy token, or a personal access token.

    The latter, a JWT, is exchanged at `renewal` for an access token of a few minutes.
    """

    def __init__(self, token: str, renewal: httpx.URL) -> None:
        self._token, self._renewal = token, renewal
        self._is_legacy = "." not in token
        self._shown = f"Token {token}" if self._is_legacy else None

    def sync_auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        """Sends a request; again with a new access token if the last has expired."""
        if self._shown is not None:
            request.headers["Authorization"] = self._shown
            response = yield request
            if self._is_legacy or response.status_code != httpx.codes.UNAUTHORIZED:
                return
        renewed = yield httpx.Request("POST", self._renewal, json={"refresh": self._token})
        renewed.read()
        renewed.raise_for_status()
        self._shown = f"Bearer {renewed.json()['access']}"
        request.headers["Authorization"] = self._shown
        yield request


class Clips:
    """Downloads clips of up to `max_bytes`, with the token of a user who may see them.

    The address in a task is untrusted (SSRF).
    """

    def __init__(
        self,
        label_studio: str,
        *,
        token: str | None,
        max_bytes: int,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        renewal = httpx.URL(f"{label_studio.rstrip('/')}/api/token/refresh/")
        self._http = httpx.Client(
            base_url=label_studio,
            auth=Token(token, renewal) if token else None,
            timeout=TIMEOUT_S,
            follow_redirects=True,  # to where Label Studio itself keeps the clip
            max_redirects=MAX_REDIRECTS,
            event_hooks={"request": [self._check_target]},
            transport=transport,
            trust_env=may_use_proxy(label_studio),
        )
        self._max_bytes = max_bytes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    @contextmanager
    def fetched(self, address: str) -> Iterator[Path]:
        """Yields a clip as a temporary file.

        Args:
            address: as in a task; relative ones are Label Studio's.

        Raises:
            ValueError: it is of another origin, or the clip is too large.
            OSError: it cannot be downloaded.
        """
        with tempfile.NamedTemporaryFile(prefix="egopack-clip-") as file:
            self._download(self._same_origin(address), file, self._max_bytes)
            file.flush()
            yield Path(file.name)

    def json(self, path: str) -> Any:
        """Returns what Label Studio's API answers to a GET.

        Args:
            path: below its base URL.

        Raises:
            ValueError: it is not JSON, or larger than `MAX_JSON_BYTES`.
            OSError: it cannot be fetched.
        """
        text = io.BytesIO()
        self._download(self._http.base_url.join(path), text, MAX_JSON_BYTES)
        return json.loads(text.getvalue())

    def _download(self, url: httpx.URL, file: IO[bytes], max_bytes: int) -> None:
        """Writes what is at an address to a file; errors name the address."""
        until_s = time.monotonic() + DOWNLOAD_S
        try:
            with self._http.stream("GET", url) as response:
                response.raise_for_status()
                for chunk in response.iter_bytes():
                    file.write(chunk)
                    if file.tell() > max_bytes:
                        raise ValueError(f"{url} is larger than {max_bytes} bytes")
                    if time.monotonic() > until_s:
                        raise OSError(f"{url} takes longer than {DOWNLOAD_S:g} s")
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            hint = "; is LABEL_STUDIO_API_KEY a token of a user who sees it?"
            known = hint if status in (401, 403) else ""
            raise OSError(f"{url} cannot be fetched: status {status}{known}") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise OSError(f"{url} cannot be fetched: {error}") from error

    def _check_target(self, request: httpx.Request) -> None:
        """Refuses a redirect to this machine, or to an address that only it can reach."""
        url = request.url
        if url.scheme not in ("http", "https"):
            raise OSError(f"a redirect to a {url.scheme} address is not followed")
        if url.host == self._http.base_url.host:  # another port: a store beside Label Studio
            return
        try:
            found = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise OSError(f"a redirect to {url.host} cannot be followed: {error}") from error
        for *_, place in found:
            address = ipaddress.ip_address(str(place[0]).partition("%")[0])
            address = getattr(address, "ipv4_mapped", None) or address
            if (
                address.is_loopback
                or address.is_link_local
                or address.is_unspecified
                or address.is_multicast
            ):
                raise OSError(f"a redirect to {url.host} is not followed: {address} is internal")

    def _is_ours(self, url: httpx.URL) -> bool:
        ours = self._http.base_url
        return (url.scheme, url.host, url.port) == (ours.scheme, ours.host, ours.port)

    def _same_origin(self, address: str) -> httpx.URL:
        ours = self._http.base_url
        try:
            url = ours.join(address)
        except httpx.InvalidURL as error:
            raise OSError(f"{address} cannot be fetched: {error}") from error
        if not self._is_ours(url):
            raise ValueError(f"{address} does not lead to Label Studio at {ours}")
        return url
