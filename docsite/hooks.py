"""mkdocs hook that adds the generated pages: HTTP API, commands, settings, notebooks."""

from collections.abc import Callable
from typing import Any

GENERATED = ("reference/http.md", "reference/commands.md", "reference/settings.md")
"""Generated pages without a source file, by their path in the site."""


def on_files(files: Any, *, config: Any) -> Any:
    """Adds the generated pages to the site."""
    from mkdocs.structure.files import File

    from docsite import commands, http, notebooks, settings

    makers: tuple[Callable[[], str], ...] = (http.page, commands.page, settings.page)
    for place, make in zip(GENERATED, makers, strict=True):
        files.append(File.generated(config, place, content=make()))
    for place, text in notebooks.pages():
        files.append(File.generated(config, place, content=text))
    return files
