"""The server's settings as a page."""

from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from server.settings.settings import Settings
from weights import SHIPPED_BUNDLE

HEAD = """# Settings

Every setting of `python -m server` is a variable or a flag: `EGOPACK_MAX_WAIT_MS=2` and
`--max-wait-ms 2` say the same, and the flag wins. An unknown flag, or a value that does not fit,
ends the server with status 2 and the setting's name.

| variable | default | what |
|---|---|---|
"""
SEVERAL = {"decode_workers": "one a core"}
"""Defaults that depend on the machine, in words."""


def page() -> str:
    """Returns the page, as Markdown."""
    prefix = Settings.model_config["env_prefix"]
    fields = Settings.model_fields
    rows = [
        f"| `{prefix}{name.upper()}` | {_default(name, fields[name])} "
        f"| {_cell(fields[name].description)} |"
        for name in sorted(fields, key=_is_inherited)
    ]
    return HEAD + "\n".join(rows) + "\n"


def _is_inherited(name: str) -> bool:
    """Whether a setting is one of a part, such as jobs: they follow the server's own."""
    return name not in Settings.__annotations__


def _default(name: str, field: Any) -> str:
    if name in SEVERAL:
        return SEVERAL[name]
    default = field.default
    if default == SHIPPED_BUNDLE:
        return "the shipped one"
    if default in (None, PydanticUndefined) or default == {}:
        return ""
    return f"`{default}`" if isinstance(default, str | Path | bool) else f"{default:g}"


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")
