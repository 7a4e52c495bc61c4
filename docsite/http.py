"""Reference page of the HTTP API, from the server's OpenAPI document."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from server.api.app import create_app
from server.settings.settings import Settings

Schema = dict[str, Any]
REF = "#/components/schemas/"
SHOWN_LINES = 60
"""Longer examples are collapsed."""


def page() -> str:
    """Returns the page, as Markdown."""
    api = create_app(Settings()).openapi()
    parts = ["# HTTP API", api["info"]["description"]]
    parts.append(
        "A running server shows the same at `/docs`, to try out, and gives it as "
        "`/openapi.json`. With an API key set, send it as `Authorization: Bearer KEY`."
    )
    tag = None
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            if operation["tags"][0] != tag:
                tag = operation["tags"][0]
                parts.append(f"## {tag.capitalize()}")
            parts += _operation(method, path, operation)
    parts.append("## Bodies")
    for name, schema in sorted(api["components"]["schemas"].items()):
        parts += _body(name, schema)
    return "\n\n".join(parts) + "\n"


def _operation(method: str, path: str, operation: Schema) -> Iterator[str]:
    yield f"### {method.upper()} {path}"
    yield _prose(operation.get("description") or operation["summary"])
    if parameters := operation.get("parameters"):
        yield table(
            ("parameter", "in", "type", "what"),
            (
                (f"`{one['name']}`", one["in"], _type(one["schema"]), one.get("description", ""))
                for one in parameters
            ),
        )
    if body := operation.get("requestBody"):
        kinds = (f"`{kind}`" for kind in body["content"])
        yield "Body: " + ", ".join(kinds) + "."
    yield table(
        ("status", "what", "body"), (_response(*one) for one in operation["responses"].items())
    )
    for media in operation["responses"].get("200", {}).get("content", {}).values():
        if "example" in media:
            yield _example(media["example"])


def _response(status: str, response: Schema) -> tuple[str, str, str]:
    bodies = (
        _type(media["schema"]) if "schema" in media else f"`{kind}`"
        for kind, media in response.get("content", {}).items()
    )
    return status, response["description"], ", ".join(dict.fromkeys(bodies))


def _example(example: Any) -> str:
    text = example if isinstance(example, str) else json.dumps(example, indent=1)
    block = f"```{'text' if isinstance(example, str) else 'json'}\n{text.rstrip()}\n```"
    if text.count("\n") <= SHOWN_LINES:
        return block
    indented = "\n".join(f"    {line}" for line in block.splitlines())
    return f'??? example "Example"\n\n{indented}'


def _body(name: str, schema: Schema) -> Iterator[str]:
    yield f"### {name}"
    if text := schema.get("description"):
        yield _prose(text)
    needed = schema.get("required", ())
    if fields := schema.get("properties"):
        yield table(
            ("field", "type", "what"),
            (
                (
                    f"`{field}`" + ("" if field in needed else " (optional)"),
                    _type(one),
                    one.get("description", ""),
                )
                for field, one in fields.items()
            ),
        )


def _type(schema: Schema) -> str:
    """Summary of a JSON schema."""
    if ref := schema.get("$ref"):
        name = ref.removeprefix(REF)
        return f"[{name}](#{name.lower()})"
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(_type(one) for one in options if one.get("type") != "null")
    if schema.get("enum"):
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = schema.get("type", "any")
    if kind == "array" and "items" in schema:
        return f"list of {_type(schema['items'])}"
    values = schema.get("additionalProperties")
    if kind == "object" and isinstance(values, dict):
        return f"map to {_type(values)}"
    bounds = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
    signs = ("≥", ">", "≤", "<")
    limits = [f"{sign} {schema[b]}" for b, sign in zip(bounds, signs, strict=True) if b in schema]
    return f"{kind} ({', '.join(limits)})" if limits else kind


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Returns a Markdown table."""
    lines = [head, ("---",) * len(head), *rows]
    cells = ([" ".join(text.split()).replace("|", "\\|") for text in line] for line in lines)
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)


def _prose(text: str) -> str:
    """A docstring up to its `Args`."""
    return text.split("\n\nArgs:")[0].strip()
