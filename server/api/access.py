"""API keys: who a caller is, by a key of which only the hash is kept."""

import hashlib
import hmac
import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from starlette.datastructures import Headers

from server.errors import Unauthenticated

logger = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Keys:
    """The keys that open the server; without any, it is open to all."""

    def __init__(self, read: Callable[[], Mapping[str, str]]) -> None:
        """Keeps the keys' hashes.

        Args:
            read: returns name -> key, as they are now.
        """
        self._read = read
        self._digests = _digests(read())

    def __bool__(self) -> bool:
        return bool(self._digests)

    def read_again(self) -> None:
        """Lets in whoever has a key by now, and nobody else; keys that are wrong change nothing.

        Never raises; the log says what came of it.
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
        """Returns the name of the key that was sent, or None if it is not one of ours.

        Every key is compared, each in constant time, so that neither a key's beginning nor its
        place in the list can be told from how long the answer took.
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


def check_keys(keys: Mapping[str, str]) -> None:
    """Raises unless names can be logged and keys are worth the name.

    Raises:
        ValueError: which key is wrong, by its name.
    """
    for name, key in keys.items():
        if not _NAME.fullmatch(name):
            raise ValueError("a key's name has 1 to 64 letters, digits, dots, dashes, underscores")
        if not key or key != key.strip() or not key.isprintable():
            raise ValueError(f"the API key {name!r} is empty or has blanks at its ends")
    if len(set(keys.values())) < len(keys):
        raise ValueError("two API keys are the same; each name needs a key of its own")


def read_keys(path: Path) -> dict[str, str]:
    """Returns the keys in a file by name; lines that are empty or begin with # do not count.

    Raises:
        ValueError: the file cannot be read, or which line is wrong.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the API keys in {path}") from error
    keys: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, *rest = line.split()
        if len(rest) != 1 or name in keys:
            raise ValueError(f"line {number} of {path}: expected a new name, a blank and a key")
        keys[name] = rest[0]
    if not keys:
        raise ValueError(f"{path} holds no API key")
    return keys


def _digests(keys: Mapping[str, str]) -> dict[str, bytes]:
    return {name: _digest(key) for name, key in keys.items()}


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
