"""Checks of single settings: API keys, rate limit, job database, webhook secret, host."""

import base64
import binascii
import ipaddress
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from limits import RateLimitItem, parse_many
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

MIN_KEY_CHARS = 16
"""Shortest API key where other machines can reach the server: it has to stand guessing."""

_HOST_NAME = re.compile(r"\*|(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*|[0-9a-f:]*:[0-9a-f:.]*")
_KEY_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")


def check_keys(keys: Mapping[str, str], *, min_chars: int = 1) -> None:
    """Raises unless every name can be logged and every key is a distinct printable string.

    Args:
        keys: name -> key.
        min_chars: length of the shortest key allowed.

    Raises:
        ValueError: which key is wrong, by its name.
    """
    for name, key in keys.items():
        if not _KEY_NAME.fullmatch(name):
            raise ValueError("a key's name has 1 to 64 letters, digits, dots, dashes, underscores")
        if not key or key != key.strip() or not key.isprintable():
            raise ValueError(f"the API key {name!r} is empty or has blanks at its ends")
        if len(key) < min_chars:
            raise ValueError(
                f"the API key {name!r} has {len(key)} characters; other machines can reach the "
                f"server, so give at least {min_chars}, such as those of "
                "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
            )
    if len(set(keys.values())) < len(keys):
        raise ValueError("two API keys are the same; each name needs a key of its own")


def read_keys(path: Path) -> dict[str, str]:
    """Returns the keys in a file by name; empty lines and lines that begin with # are skipped.

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


def parse_rate(text: str) -> list[RateLimitItem]:
    """Returns the limits in a text such as `60/minute` or `5/second;1000/day`.

    Raises:
        ValueError: the text is no rate limit.
    """
    try:
        return parse_many(text)
    except ValueError as error:
        raise ValueError(f"expected a rate limit such as 60/minute, got {text!r}") from error


def split_names(text: str | None) -> list[str]:
    """Returns the entries of a list separated by commas, in lower case."""
    return [name.strip().lower() for name in (text or "").split(",") if name.strip()]


def check_hosts(names: Iterable[str]) -> None:
    """Raises unless every name is one of a host, without scheme and port.

    Raises:
        ValueError: which is not.
    """
    for name in names:
        if not _HOST_NAME.fullmatch(name):
            raise ValueError(
                f"allowed_hosts: expected names such as api.example.org, *.example.org or *, "
                f"without scheme and port, got {name!r}"
            )


def check_proxies(entries: Iterable[str]) -> None:
    """Raises unless every entry is an address or a network.

    Raises:
        ValueError: which is not.
    """
    for entry in entries:
        try:
            ipaddress.ip_network(entry)
        except ValueError as error:
            raise ValueError(
                "trusted_proxies: expected addresses or networks such as 127.0.0.1 or "
                f"10.0.0.0/8, got {entry!r}"
            ) from error


def parse_database(address: str) -> URL:
    """Returns the URL of a job database, with the driver that is installed.

    Args:
        address: `sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/NAME`.

    Raises:
        ValueError: the address is of neither form.
    """
    try:
        url = make_url(address)
        if url.drivername in ("postgresql", "postgres"):
            url = url.set(drivername="postgresql+psycopg")
        if (kind := url.get_backend_name()) not in ("sqlite", "postgresql"):
            raise ValueError(f"expected a sqlite or postgresql address of jobs, got {kind}")
        url.get_dialect()
    except (ArgumentError, NoSuchModuleError) as error:
        raise ValueError("expected a sqlite or postgresql address of jobs") from error
    return url


def check_secret(secret: str) -> None:
    """Raises unless a webhook secret can sign (Standard Webhooks).

    Raises:
        ValueError: it is not `whsec_` and base64 of 24 to 64 bytes.
    """
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("webhook_secret: expected `whsec_` and base64") from error
    if not 24 <= len(key) <= 64:
        raise ValueError(f"webhook_secret: expected base64 of 24 to 64 bytes, got {len(key)}")


def is_loopback(host: str) -> bool:
    """Whether the address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
