"""Notebooks as Markdown pages."""

import json
from collections.abc import Iterator
from pathlib import Path

SHELL = "%%bash"
"""First line of a cell that is a shell script."""

NOTEBOOKS = Path(__file__).parents[1] / "docs" / "notebooks"


def pages() -> Iterator[tuple[str, str]]:
    """Yields each notebook's path in the site, and its cells as Markdown."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        link = f"[Download this notebook]({path.name})"
        yield f"notebooks/{path.stem}.md", "\n\n".join([*map(_markdown, cells), link]) + "\n"


def _markdown(cell: dict[str, str | list[str]]) -> str:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return source
    if source.startswith(SHELL):
        return f"```bash{source.removeprefix(SHELL)}\n```"
    return f"```python\n{source}\n```"
