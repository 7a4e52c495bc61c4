"""Resumable HTTP download with retries, into a file that appears whole or not at all."""

import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from weights.errors import FetchFailed

logger = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]
"""Called with the bytes received and the bytes in all; None where the server does not say."""

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Transient statuses, which are retried."""


class _Broken(Exception):
    """A failed try that is worth a retry."""


def download(
    url: str,
    path: Path,
    *,
    retries: int = 4,
    wait_s: float = 1.0,
    timeout_s: float = 30.0,
    progress: Progress = lambda done, total: None,
) -> None:
    """Downloads a file, which appears whole or not at all.

    `<path>.part` keeps the bytes received. They are continued only if the server confirms, by a
    strong ETag and If-Range, that the version is the same (RFC 9110, 13.1.5); else it starts over.

    Args:
        url: http or https.
        path: of the file.
        retries: tries in a row that may end without one more byte.
        wait_s: pause before the first retry; doubled before each next.
        timeout_s: longest time without a byte.
        progress: called after each chunk.

    Raises:
        FetchFailed: it cannot be downloaded or written.
    """
    public_address(url)  # raises for an invalid address
    part = _Part(path.with_name(f"{path.name}.part"), path.with_name(f"{path.name}.part.json"))
    # A proxy from the environment cannot reach this machine's own loopback.
    trust_env = httpx.URL(url).host not in LOOPBACK
    try:
        with httpx.Client(timeout=timeout_s, follow_redirects=True, trust_env=trust_env) as client:
            _persist(lambda: _receive(client, url, part, progress), url, part, retries, wait_s)
        part.finish(path)
    except OSError as error:
        raise FetchFailed(f"{part.path}: {error.strerror or error}{part.kept}") from error


def _persist(
    receive: Callable[[], None], url: str, part: "_Part", retries: int, wait_s: float
) -> None:
    """Tries until the part is whole, or until so many retries in a row brought no byte."""
    address = public_address(url)
    best, failures = part.size, 0
    while True:
        try:
            return receive()
        except (httpx.HTTPError, _Broken) as error:
            failures = 0 if part.size > best else failures + 1
            best = max(best, part.size)
            why = str(error) or type(error).__name__
            if failures > retries:
                raise FetchFailed(f"{address}: {why}{part.kept}") from error
            pause_s = wait_s * 2 ** max(0, failures - 1)
            logger.warning("%s: %s; next try in %g s", address, why, pause_s)
            time.sleep(pause_s)


def public_address(url: str) -> str:
    """Returns an address without user, query and fragment, which may be secret.

    Raises:
        FetchFailed: it is not an http or https address.
    """
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise FetchFailed(f"expected an http or https address, got {url!r}: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise FetchFailed(f"expected an http or https address, got {url!r}")
    return str(parsed.copy_with(userinfo=b"", query=None, fragment=None))


@dataclass(frozen=True)
class _Part:
    """The start of a file.

    Attributes:
        path: of the bytes.
        facts: JSON of their address and ETag; if damaged or missing, the download starts over.
    """

    path: Path
    facts: Path

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def kept(self) -> str:
        return f"; {self.size} bytes are kept, run again to go on" if self.size else ""

    def version(self, url: str) -> str | None:
        """Returns the ETag to resume with; None to start over."""
        try:
            facts = json.loads(self.facts.read_bytes())
        except (OSError, ValueError):
            return None
        known = isinstance(facts, dict) and facts.get("address") == public_address(url)
        etag = facts.get("etag") if known and self.size else None
        return etag if isinstance(etag, str) else None

    def start(self, url: str, etag: str | None) -> None:
        self.path.unlink(missing_ok=True)  # first: no old bytes under a new ETag
        self.facts.write_text(json.dumps({"address": public_address(url), "etag": etag}))

    def finish(self, path: Path) -> None:
        os.replace(self.path, path)
        self.facts.unlink(missing_ok=True)


def _receive(client: httpx.Client, url: str, part: _Part, progress: Progress) -> None:
    """Makes one request and appends the body; returns when the part is whole."""
    etag = part.version(url)
    offset = part.size if etag else 0
    # Ranges count encoded bytes, so the encoding must be the file's own.
    headers = {"Accept-Encoding": "identity"}
    if etag:
        headers |= {"Range": f"bytes={offset}-", "If-Range": etag}
    with client.stream("GET", url, headers=headers) as response:
        status = response.status_code
        if status == 416 and response.headers.get("Content-Range") == f"bytes */{offset}":
            return  # the part is the whole file
        if status == 200:
            offset = 0
            part.start(url, _strong_etag(response))
        elif offset and status in (206, 416) and not _continues(response, offset, etag):
            part.start(url, None)
            raise _Broken("the file was replaced on the server")
        elif not offset or status != 206:
            raise _refusal(response)
        total = _total(response)
        with part.path.open("ab") as stream:
            for chunk in response.iter_raw():
                stream.write(chunk)
                progress(stream.tell(), total)
    if total is not None and part.size != total:
        raise _Broken(f"{part.size} of {total} bytes came")


def _total(response: httpx.Response) -> int | None:
    """Size of the whole file; a server may send a shorter range than was requested."""
    size: str = response.headers.get("Content-Length", "")
    if response.status_code == 206:
        size = response.headers["Content-Range"].rpartition("/")[2]
    return int(size) if size.isdecimal() else None


def _refusal(response: httpx.Response) -> Exception:
    said = f"the server answered {response.status_code} {response.reason_phrase}".rstrip()
    if response.status_code in _TRANSIENT:
        return _Broken(said)
    return FetchFailed(
        f"{public_address(str(response.url))}: {said}. If the file has moved, give its new address "
        "with --url or EGOPACK_WEIGHTS_URL"
    )


def _strong_etag(response: httpx.Response) -> str | None:
    """The ETag unless it is weak: that promises equivalence, not the same bytes."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else None


def _continues(response: httpx.Response, offset: int, etag: str | None) -> bool:
    """Whether a 206 is the requested range: some servers ignore If-Range."""
    content_range: str = response.headers.get("Content-Range", "")
    same = response.headers.get("ETag", etag) == etag
    return same and content_range.startswith(f"bytes {offset}-")
