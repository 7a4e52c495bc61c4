"""Video ids: text that is a safe file name on any disk and in object storage.

A name of letters, digits, `.`, `_` and `-` is its own id. Any other has a derived id, such as
`Kuche-1=2da14dd0db68a8eb718d` of `Küche 1`: its readable part and a digest of the whole name. Only
derived ids hold a `=`, so one is never the id of another name.
"""

import re
import unicodedata
from hashlib import sha256

MAX_LENGTH = 200
"""Of an id: with suffixes, also those of a temporary file, at most 255 characters."""

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_DERIVED = re.compile(_PLAIN.pattern + "=[0-9a-f]{20}")
_MAX_READABLE = 80


def is_safe_id(text: str) -> bool:
    """Returns whether a text is an id."""
    is_id = _PLAIN.fullmatch(text) or _DERIVED.fullmatch(text)
    return is_id is not None and len(text) <= MAX_LENGTH


def id_of(name: str) -> str:
    """Returns the id of a name, the same on every machine; two names never have the same.

    Args:
        name: any text, with surrogates for bytes that are not UTF-8 (`os.fsdecode`). Neither
            Unicode normalisation nor case folding is applied.
    """
    if _PLAIN.fullmatch(name) and len(name) <= MAX_LENGTH:
        return name
    digest = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:20]
    return f"{_readable(name)}={digest}"


def as_id(text: str) -> str:
    """Returns a text that is an id as it is, and the id of any other."""
    return text if is_safe_id(text) else id_of(text)


def _readable(name: str) -> str:
    """Returns the readable part of a name; of a long one its end, which is more distinctive."""
    letters = (c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    text = re.sub(r"[^A-Za-z0-9._-]+", "-", "".join(letters))
    return text.strip("-.")[-_MAX_READABLE:].lstrip("-.") or "video"
