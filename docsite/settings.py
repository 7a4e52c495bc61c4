"""Reference page of the server's settings, from the pydantic model."""

from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from docsite.http import table
from server.settings.settings import Settings
from weights import SHIPPED_BUNDLE

HEAD = """# Settings

Every setting of `python -m server` is a variable or a flag: `EGOPACK_MAX_WAIT_MS=2` and
`--max-wait-ms 2` say the same, and the flag wins. An unknown flag, or a value that does not fit,
ends the server with status 2 and the setting's name.

"""
SEVERAL = {"decode_workers": "one a core"}
"""Defaults that depend on the machine, in words."""


def page() -> str:
    """Returns the page, as Markdown."""
    prefix = Settings.model_config["env_prefix"]
    fields = Settings.model_fields
    own_first = sorted(fields, key=lambda name: name not in Settings.__annotations__)
    rows = [
        (f"`{prefix}{name.upper()}`", _default(name, fields[name]), fields[name].description or "")
        for name in own_first
    ]
    return HEAD + table(("variable", "default", "what"), rows) + "\n"


def _default(name: str, field: Any) -> str:
    if name in SEVERAL:
        return SEVERAL[name]
    default = field.default
    if default == SHIPPED_BUNDLE:
        return "the shipped one"
    if default in (None, PydanticUndefined) or default == {}:
        return ""
    return f"`{default}`" if isinstance(default, str | Path | bool) else f"{default:g}"
