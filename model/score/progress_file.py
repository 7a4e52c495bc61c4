"""Append-only progress file of a scoring run: a killed run resumes where it was.

One JSON line per answer after a header line with everything the answers depend on. A file with
another header and an incomplete line are discarded.
"""

import fcntl
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from model.errors import ScoringRefused

Facts = dict[str, Any]


class ProgressFile:
    """A locked, growing file of answers.

    Attributes:
        answers: id -> answer, in JSON types.
        changed: header fields that differ from those of an older file, which was discarded.
    """

    def __init__(self, path: Path, header: Facts) -> None:
        """Opens or starts the file and reads its answers.

        Args:
            path: of the file.
            header: everything the answers depend on, in plain JSON types.

        Raises:
            ScoringRefused: another process is writing the file.
        """
        self.answers: dict[str, Any] = {}
        self.changed: list[str] = []
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = path.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise ScoringRefused(f"another run is writing {path}; wait for it or end it") from error
        self._resume(header)

    def __enter__(self) -> "ProgressFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, answers: Mapping[str, Any]) -> None:
        """Appends the answers of ids that have none yet."""
        fresh = {i: answer for i, answer in answers.items() if i not in self.answers}
        self._file.write(b"".join(_line([i, answer]) for i, answer in fresh.items()))
        self._file.flush()
        self.answers.update(fresh)

    def _resume(self, header: Facts) -> None:
        self._file.seek(0)
        found = _parse(self._file.readline())
        if found != header:
            if isinstance(found, dict):
                self.changed = [k for k, v in header.items() if found.get(k) != v]
            self._file.truncate(0)
            self._file.write(_line(header))
            self._file.flush()
            return
        sound = self._file.tell()
        for line in self._file:
            pair = _parse(line)
            if not isinstance(pair, list) or len(pair) != 2:
                break
            self.answers[pair[0]] = pair[1]
            sound += len(line)
        self._file.truncate(sound)  # appending goes on after the last whole line


def _line(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _parse(line: bytes) -> Any:
    """Returns the value of a line; None if it is incomplete."""
    if not line.endswith(b"\n"):
        return None
    try:
        return json.loads(line)
    except ValueError:
        return None
