"""Reference page of the commands: `--help` of every parser; and access to those parsers."""

import argparse
import importlib
import io
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from unittest import mock

COMMANDS: tuple[tuple[str, ...], ...] = (
    ("server",),
    ("clients",),
    ("extract",),
    ("extract.dataset.compare",),
    ("extract.runtime.onnx_export",),
    ("model.train",),
    ("model.train", "reproduce"),
    ("model.train", "--learn"),
    ("model.train", "compare"),
    ("model.train", "labelling"),
    ("model.train", "render"),
    ("model.train", "forecast"),
    ("model.evaluate",),
    ("model.score",),
    ("tabletop",),
    ("weights",),
    ("bench",),
)
"""Modules run with `python -m`, and the first argument where it selects another parser."""

WIDTH = 90
"""Columns of a help text."""


class _Captured(BaseException):
    """Ends a command at `parse_args`, with its parser."""

    def __init__(self, parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> None:
        super().__init__()
        self.parser = parser
        self.arguments = list(sys.argv[1:] if arguments is None else arguments)


def parser_of(
    module: str, arguments: Sequence[str], *, first: bool = False
) -> tuple[argparse.ArgumentParser, list[str]]:
    """Returns the parser of `python -m MODULE ARGUMENTS` and its arguments, running nothing else.

    Args:
        module: run with `python -m`.
        arguments: of the command line.
        first: the first parser, where that one only selects the next.

    Raises:
        LookupError: there is no such module, or it ended without a parser.
    """

    def capture(
        parser: argparse.ArgumentParser, args: Sequence[str] | None = None, namespace: object = None
    ) -> None:
        raise _Captured(parser, args)

    method = "parse_known_args" if first else "parse_args"  # the latter calls the former
    patched = mock.patch.object(argparse.ArgumentParser, method, capture)
    try:
        with _command_line(module, arguments), patched:
            _main_of(module)()
    except _Captured as captured:
        return captured.parser, captured.arguments
    raise LookupError(f"python -m {module} has no parser")


def helps() -> Iterator[tuple[str, str]]:
    """Yields every command and sub-command with its help text."""
    for module, *first in COMMANDS:
        name = " ".join(("python -m", module, *first))
        if module == "server":
            yield name, _server_help()
            continue
        parser, _ = parser_of(module, first, first=True)
        yield name, _format(parser)
        for sub, subparser in subparsers_of(parser).items():
            chosen, _ = parser_of(module, [*first, sub])
            yield from _helps_below(
                f"{name} {sub}", subparser if chosen.prog == parser.prog else chosen
            )


def _helps_below(name: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    yield name, _format(parser)
    for sub, subparser in subparsers_of(parser).items():
        yield from _helps_below(f"{name} {sub}", subparser)


def subparsers_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Returns the parsers of a parser's sub-commands by name."""
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found |= action.choices
    return found


def page() -> str:
    """Returns the page of all help texts, as Markdown."""
    parts = ["# Commands", "The `--help` of each, in this version."]
    for name, text in helps():
        level = "##" if name.count(" ") == 2 else "###"
        parts.append(f"{level} {name}\n\n```text\n{text.strip()}\n```")
    return "\n\n".join(parts) + "\n"


def _main_of(module: str) -> Callable[[], object]:
    """Returns `main` of a module that is run with `python -m`."""
    try:
        found = importlib.import_module(module)
        if not hasattr(found, "main"):
            found = importlib.import_module(f"{module}.__main__")
    except ModuleNotFoundError as error:
        raise LookupError(f"no module to run as python -m {module}") from error
    main: Callable[[], object] = found.main
    return main


def _server_help() -> str:
    """The server's help, which pydantic-settings prints."""
    out = io.StringIO()
    with _command_line("server", ["--help"]), redirect_stdout(out), suppress(SystemExit):
        _main_of("server")()
    return _without_machine(out.getvalue())


def _format(parser: argparse.ArgumentParser) -> str:
    with mock.patch.dict(os.environ, {"COLUMNS": str(WIDTH)}):
        return _without_machine(parser.format_help())


def _without_machine(text: str) -> str:
    """Removes this machine's paths from a help text."""
    return re.sub(re.escape(os.getcwd()) + r"/?", "", text).replace(os.path.expanduser("~"), "~")


@contextmanager
def _command_line(module: str, arguments: Sequence[str]) -> Iterator[None]:
    argv = mock.patch.object(sys, "argv", [f"python -m {module}", *arguments])
    with argv, mock.patch.dict(os.environ, {"COLUMNS": str(WIDTH)}):
        yield
