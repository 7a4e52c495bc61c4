"""Atomic file writes."""

import os
from pathlib import Path

DRAFT = ".part"
"""Suffix of a file that is being written."""


def write_whole(path: Path, data: str | bytes) -> None:
    r"""Writes a file that appears whole or not at all; makes its folder if need be.

    Text is written as UTF-8; a byte of a file name that is not UTF-8, as FF, becomes `\udcff`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}{DRAFT}")
    draft.write_bytes(data.encode(errors="backslashreplace") if isinstance(data, str) else data)
    os.replace(draft, path)
