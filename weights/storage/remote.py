"""What remote folders have in common: metadata of a file, messages without secrets."""

import re
from dataclasses import dataclass
from hashlib import sha256

_SECRETS = re.compile(r"\?[^\s'\")]+|(?<=://)[^\s/@]+@")


@dataclass(frozen=True)
class FileFacts:
    """Metadata of a file.

    Attributes:
        name: below its folder.
        size: in bytes.
        version: changes when the file is written: its time in ns, or a digest of its metadata.
    """

    name: str
    size: int
    version: int


def version_of(data: bytes) -> int:
    """Returns a 56-bit digest."""
    return int.from_bytes(sha256(data).digest()[:7], "big")


def without_secrets(text: str) -> str:
    """Returns a text with the queries, users and passwords of its addresses left out."""
    return _SECRETS.sub("…", text)


def describe_error(error: Exception) -> str:
    """Returns type and message of a storage library's exception, without secrets."""
    return f"{type(error).__name__}: {without_secrets(str(error)) or 'no reason given'}"
