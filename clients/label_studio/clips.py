"""Clips that tasks name, fetched from Label Studio and from nowhere else."""

import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from clients.client import may_use_proxy

TIMEOUT_S = 60.0


class Token(httpx.Auth):
    """Shows a user's token: a personal access token, or one of the older kind.

    The first is traded for a pass of a few minutes, which is shown instead.
    """

    def __init__(self, token: str, renewal: httpx.URL) -> None:
        """Trades nothing yet.

        Args:
            token: of a user; only a personal access token, which is a JWT, has dots in it.
            renewal: where it is traded.
        """
        self._token, self._renewal = token, renewal
        self._shown = None if "." in token else f"Token {token}"
        self._lasts = self._shown is not None

    def sync_auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        """Sends a request with what there is to show; again with a new pass if that has run out."""
        if self._shown is not None:
            request.headers["Authorization"] = self._shown
            response = yield request
            if self._lasts or response.status_code != httpx.codes.UNAUTHORIZED:
                return
        renewed = yield httpx.Request("POST", self._renewal, json={"refresh": self._token})
        renewed.read()
        renewed.raise_for_status()
        self._shown = f"Bearer {renewed.json()['access']}"
        request.headers["Authorization"] = self._shown
        yield request


class Clips:
    """Fetches clips; whoever can write a task could otherwise send us anywhere."""

    def __init__(
        self,
        label_studio: str,
        *,
        token: str | None,
        max_bytes: int,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Connects to nothing yet.

        Args:
            label_studio: its address.
            token: of a user who may see the clips.
            max_bytes: of a clip.
            transport: replaces the network, for tests.
        """
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._http.close()

    @contextmanager
    def fetched(self, address: str) -> Iterator[Path]:
        """Yields a clip as a file that is gone afterwards.

        Args:
            address: as a task has it; one without a host is Label Studio's.

        Raises:
            ValueError: it leads elsewhere, or the clip is too large.
            OSError: it cannot be had.
        """
        with tempfile.NamedTemporaryFile(prefix="egopack-clip-") as file:
            try:
                url = self._here(address)
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

    def _here(self, address: str) -> httpx.URL:
        ours = self._http.base_url
        url = ours.join(address)
        if (url.scheme, url.host, url.port) != (ours.scheme, ours.host, ours.port):
            raise ValueError(f"{address} does not lead to Label Studio at {ours}")
        return url
