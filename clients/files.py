"""Files that are there whole or not at all."""

import os
from pathlib import Path


def write_whole(path: Path, data: str | bytes) -> None:
    """Writes a file in one stroke, its folder too if need be.

    Args:
        path: where.
        data: text is written as UTF-8.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    draft.write_bytes(data.encode() if isinstance(data, str) else data)
    os.replace(draft, path)
