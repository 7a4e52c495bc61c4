"""Files that are there whole or not at all."""

import os
from pathlib import Path

DRAFT = ".part"
"""Ending of a file that is not whole yet."""


def write_whole(path: Path, data: str | bytes) -> None:
    r"""Writes a file in one stroke, its folder too if need be.

    Args:
        path: where.
        data: text is written as UTF-8; what is left of a file's name that is not UTF-8 becomes
            an escape, `\udcff` of the byte FF, as JSON spells it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}{DRAFT}")
    draft.write_bytes(data.encode(errors="backslashreplace") if isinstance(data, str) else data)
    os.replace(draft, path)
