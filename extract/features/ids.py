"""Ids of videos: text that can name a file in any folder, on a disk or in object storage.

A name of letters, digits, `.`, `_` and `-` is its own id. Any other has an id made of it, as
`Kuche-1=2da14dd0db68a8eb718d` of `Küche 1`: what is left of it to read, and a digest of all of it.
Only ids that were made hold a `=`, so one is never the id of another name.
"""

import re
import unicodedata
from hashlib import sha256

MAX_LENGTH = 200
"""Of an id: with an ending, and as a file that is being written, it must be no longer than 255."""

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_MADE = re.compile(_PLAIN.pattern + "=[0-9a-f]{20}")
_MAX_READABLE = 80


def is_safe_id(text: str) -> bool:
    """Tells whether a text is an id."""
    is_id = _PLAIN.fullmatch(text) or _MADE.fullmatch(text)
    return is_id is not None and len(text) <= MAX_LENGTH


def id_of(name: str) -> str:
    """Returns the id of a name, the same on every machine; two names never have the same.

    Args:
        name: any text, bytes that are no UTF-8 as `os.fsdecode` gives them included. Composed and
            decomposed letters are different names, and so are large and small ones.
    """
    if _PLAIN.fullmatch(name) and len(name) <= MAX_LENGTH:
        return name
    digest = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:20]
    return f"{_readable(name)}={digest}"


def as_id(text: str) -> str:
    """Returns the id that a person gave: an id as it is, a name's own else."""
    return text if is_safe_id(text) else id_of(text)


def _readable(name: str) -> str:
    """What an id may hold of a name; the end of a long one, which tells it from its like."""
    letters = (c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    text = re.sub(r"[^A-Za-z0-9._-]+", "-", "".join(letters))
    return text.strip("-.")[-_MAX_READABLE:].lstrip("-.") or "video"
