"""An address -> a whole file, going on where an earlier try broke off.

Knows HTTP; has never heard of checkpoints.
"""

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
"""Called with the bytes that are there and, where the server says so, the bytes in all."""

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that another try may not meet again."""


class _Broken(Exception):
    """This try came to nothing; another may not."""


def download(
    url: str,
    path: Path,
    *,
    retries: int = 4,
    wait_s: float = 1.0,
    timeout_s: float = 30.0,
    progress: Progress = lambda done, total: None,
) -> None:
    """Writes what an address answers to a file, which appears whole or not at all.

    What came is kept in `<path>.part`. It is only ever continued where the server vouches, by its
    ETag, that the rest is of the same version (RFC 9110, 13.1.5); otherwise it starts over.

    Args:
        url: http or https.
        path: of the file.
        retries: how often to try again without getting any further.
        wait_s: before the first of them; doubled before each next.
        timeout_s: longest silence to put up with.
        progress: told how far it is.

    Raises:
        FetchFailed: it cannot be had, or not be written.
    """
    public_address(url)  # refuses what is no address
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
    """Tries until the part is whole; gives up when so many retries in a row brought no byte."""
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
    """Returns an address without the secrets it may carry, for messages and records.

    Raises:
        FetchFailed: it is none that could be downloaded from.
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
    """The start of a file, and beside it which version of which address that is.

    Attributes:
        path: of the bytes.
        facts: JSON beside them; one that is damaged or missing means to start over.
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
        """Returns the ETag to go on with; None when there is nothing to go on with."""
        try:
            facts = json.loads(self.facts.read_bytes())
        except (OSError, ValueError):
            return None
        known = isinstance(facts, dict) and facts.get("address") == public_address(url)
        etag = facts.get("etag") if known and self.size else None
        return etag if isinstance(etag, str) else None

    def start(self, url: str, etag: str | None) -> None:
        self.path.unlink(missing_ok=True)  # first, so that no bytes ever stand under a later ETag
        self.facts.write_text(json.dumps({"address": public_address(url), "etag": etag}))

    def finish(self, path: Path) -> None:
        os.replace(self.path, path)
        self.facts.unlink(missing_ok=True)


def _receive(client: httpx.Client, url: str, part: _Part, progress: Progress) -> None:
    """Makes one request and appends what comes; returns when the part is whole."""
    etag = part.version(url)
    offset = part.size if etag else 0
    # Ranges count the bytes that are sent, so these must be those of the file.
    headers = {"Accept-Encoding": "identity"}
    if etag:
        headers |= {"Range": f"bytes={offset}-", "If-Range": etag}
    with client.stream("GET", url, headers=headers) as response:
        status = response.status_code
        if status == 416 and response.headers.get("Content-Range") == f"bytes */{offset}":
            return  # nothing comes after what is here
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
    """Returns the bytes of the whole file; a server may send less of it than was asked for."""
    size: str = response.headers.get("Content-Length", "")
    if response.status_code == 206:
        size = response.headers["Content-Range"].rpartition("/")[2]
    return int(size) if size.isdecimal() else None


def _refusal(response: httpx.Response) -> Exception:
    said = f"the server answered {response.status_code} {response.reason_phrase}".rstrip()
    if response.status_code in _PASSING:
        return _Broken(said)
    return FetchFailed(
        f"{public_address(str(response.url))}: {said}. If the file has moved, give its new address "
        "with --url or EGOPACK_WEIGHTS_URL"
    )


def _strong_etag(response: httpx.Response) -> str | None:
    """A weak one only promises a file that serves as well, not the same bytes."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else None


def _continues(response: httpx.Response, offset: int, etag: str | None) -> bool:
    """Whether a 206 is what was asked for: some servers do not look at If-Range."""
    content_range: str = response.headers.get("Content-Range", "")
    same = response.headers.get("ETag", etag) == etag
    return same and content_range.startswith(f"bytes {offset}-")
