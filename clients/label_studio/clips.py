"""Download of the clips of tasks; only addresses of Label Studio's origin (SSRF protection)."""

import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import httpx

from clients.client import may_use_proxy

TIMEOUT_S = 60.0


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
            try:
                url = self._same_origin(address)
                with self._http.stream("GET", url) as response:
                    response.raise_for_status()
                    for chunk in response.iter_bytes():
                        file.write(chunk)
                        if file.tell() > self._max_bytes:
                            raise ValueError(f"{address} is larger than {self._max_bytes} bytes")
            except httpx.HTTPStatusError as error:
                status = error.response.status_code
                hint = "; is LABEL_STUDIO_API_KEY a token of a user who sees it?"
                known = hint if status in (401, 403) else ""
                raise OSError(f"{address} cannot be fetched: status {status}{known}") from error
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise OSError(f"{address} cannot be fetched: {error}") from error
            file.flush()
            yield Path(file.name)

    def _same_origin(self, address: str) -> httpx.URL:
        ours = self._http.base_url
        url = ours.join(address)
        if (url.scheme, url.host, url.port) != (ours.scheme, ours.host, ours.port):
            raise ValueError(f"{address} does not lead to Label Studio at {ours}")
        return url
