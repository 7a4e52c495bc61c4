"""Markdown -> its fenced blocks, and the commands in them."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MARKS = ("not run", "slow", "file")
"""What a comment before a block may say of it: `<!-- not run: why -->`, `<!-- slow: why -->`, or
`<!-- file: NAME -->`, the block being what that file holds."""

_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\S*)\s*$")
_MARK = re.compile(rf"^\s*<!-- (?P<mark>{'|'.join(MARKS)}): (?P<says>.+?) -->\s*$")
_ASSIGNMENT = re.compile(r"^[A-Z_][A-Z0-9_]*=")
_PYTHON = re.compile(r"^(?:\S*/)?python3?$")
_ENDS_COMMAND = frozenset({"|", "||", "&&", ";", "&", ">", ">>", "2>", "<"})


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        path: of the page.
        line: of its first line in the page, from 1.
        language: behind the fence.
        text: what it holds, without the fence.
        mark: what the comment before it says of it: one of `MARKS`, or nothing.
        says: the reason, or the file's name.
    """

    path: Path
    line: int
    language: str
    text: str
    mark: str = ""
    says: str = ""

    @property
    def script(self) -> str:
        """The shell commands it holds, one a line unless they were continued."""
        if self.language == "console":
            lines = _told_apart(self.text.splitlines())
            return "\n".join(line.removeprefix("$ ") for line, typed in lines if typed)
        return self.text if self.language == "bash" else ""

    @property
    def output(self) -> str:
        """What a transcript shows after what was typed; `...` stands for anything."""
        lines = self.text.splitlines() if self.language == "console" else []
        return "\n".join(line for line, typed in _told_apart(lines) if not typed)

    def __str__(self) -> str:
        return f"{self.path.name}:{self.line}"


@dataclass(frozen=True)
class Call:
    """One call of a module of ours.

    Attributes:
        variables: set for this call alone.
        module: behind `python -m`.
        arguments: behind the module.
    """

    variables: dict[str, str]
    module: str
    arguments: tuple[str, ...]


def blocks_of(path: Path) -> Iterator[Block]:
    """Yields the fenced blocks of a page; `blocks_in` has more to say."""
    return blocks_in(path.read_text(), path)


def blocks_in(text: str, path: Path) -> Iterator[Block]:
    """Yields the fenced blocks of a page's text.

    Raises:
        ValueError: a fence is never closed.
    """
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        opened = _FENCE.match(lines[number])
        if opened is None:
            number += 1
            continue
        closing = f"{opened['indent']}```"
        try:
            end = lines.index(closing, number + 1)
        except ValueError:
            raise ValueError(f"{path}:{number + 1}: the block is never closed") from None
        body = "\n".join(line.removeprefix(opened["indent"]) for line in lines[number + 1 : end])
        marked = _MARK.match(lines[number - 1]) if number else None
        mark, says = (marked["mark"], marked["says"]) if marked else ("", "")
        yield Block(path, number + 2, opened["language"], body, mark, says)
        number = end + 1


def calls_in(script: str) -> Iterator[Call]:
    """Yields every `python -m MODULE ...` of a shell script.

    Raises:
        ValueError: a line is no shell command.
    """
    for line in script.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        for command in _split(words):
            variables = {}
            while command and _ASSIGNMENT.match(command[0]):
                name, _, value = command.pop(0).partition("=")
                variables[name] = value
            if len(command) > 2 and _PYTHON.match(command[0]) and command[1] == "-m":
                yield Call(variables, command[2], tuple(command[3:]))


def _split(words: list[str]) -> Iterator[list[str]]:
    """Yields the commands of one line; what follows a redirection is left out."""
    command: list[str] = []
    for word in words:
        if word in _ENDS_COMMAND:
            yield command
            command = []
        else:
            command.append(word)
    yield command


def _told_apart(lines: list[str]) -> Iterator[tuple[str, bool]]:
    """Yields every line of a transcript, and whether a person typed it."""
    continues = False
    for line in lines:
        typed = continues or line.startswith("$ ")
        yield line, typed
        continues = typed and line.endswith("\\")
