"""The results of a batch on disk; what is there need not be asked again.

run.json            the model and the choices; a run that differs is refused
answers/NAME.json   the answer to a clip, as `predict --json` prints it
errors/NAME.json    why a clip has none
results.jsonl       a line a clip, in order of the names, made of the above

A name that is too long for a file, or could be taken for another's file, is shortened there;
results.jsonl names the file of every clip.
"""

import dataclasses
import json
import os
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from clients.api.requests import new_key
from clients.errors import ClientError
from clients.output.files import DRAFT, write_whole
from clients.results.predictions import PredictionResult

_ENDING = ".json"
_MAX_BYTES = 255 - len(f".{_ENDING}{DRAFT}")
_MAX_READABLE = 80
_DIGEST = re.compile(r"=[0-9a-f]{20}\Z")


class BatchFolder:
    """One batch's results.

    Attributes:
        run_id: made when the batch began.
    """

    def __init__(self, folder: Path) -> None:
        """Touches nothing yet.

        Args:
            folder: made when first needed.
        """
        self._folder = folder
        self.run_id = ""

    def begin(self, model: Mapping[str, str], options: Mapping[str, Any]) -> None:
        """Notes what the batch is made with, or checks that it is what it began with.

        Args:
            model: name, version and sha256 of what answers.
            options: the choices of every request.

        Raises:
            ValueError: the folder holds a batch of another model or other choices.
        """
        path = self._folder / "run.json"
        made_with = {"model": dict(model), "options": json.loads(json.dumps(options))}
        if not path.exists():
            self.run_id = new_key()
            facts = {"id": self.run_id, **made_with}
            write_whole(path, json.dumps(facts, indent=1) + "\n")
            return
        try:
            before = json.loads(path.read_bytes())
            self.run_id = str(before["id"])
            differing = [name for name in made_with if before[name] != made_with[name]]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is no run.json of a batch: {error!r}") from error
        for name in differing:
            raise ValueError(
                f"{self._folder} holds a batch with {name} {json.dumps(before[name])}, not "
                f"{json.dumps(made_with[name])}; choose another --out"
            )

    def has_answer(self, name: str, clip: Path) -> bool:
        """Whether the clip is answered, and has not changed since."""
        return _is_newer(self._answer(name), clip)

    def has_error(self, name: str, clip: Path) -> bool:
        """Whether it is known why the clip has no answer, and it has not changed since."""
        return _is_newer(self._error(name), clip)

    def keep_answer(self, name: str, result: PredictionResult) -> None:
        """Writes the answer to a clip."""
        text = json.dumps(dataclasses.asdict(result), indent=1)
        write_whole(self._answer(name), text + "\n")
        self._error(name).unlink(missing_ok=True)

    def keep_error(self, name: str, error: Exception) -> None:
        """Writes why a clip has no answer."""
        code = error.code if isinstance(error, ClientError) else "unreadable-file"
        facts = {"code": code, "detail": str(error)}
        if isinstance(error, ClientError):
            facts["request_id"] = error.request_id
        write_whole(self._error(name), json.dumps(facts, indent=1) + "\n")
        self._answer(name).unlink(missing_ok=True)

    def write_rows(self, names: Iterable[str]) -> tuple[int, int]:
        """Writes results.jsonl; returns how many clips are answered and how many failed.

        Args:
            names: of the batch's clips; those without an outcome are left out.
        """
        rows = [row for name in names if (row := self._row(name)) is not None]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_whole(self._folder / "results.jsonl", text)
        failed = sum(row["status"] == "error" for row in rows)
        return len(rows) - failed, failed

    def _row(self, name: str) -> dict[str, Any] | None:
        """The line of a clip; it says nothing that another run would say differently."""
        if self._answer(name).exists():
            path = self._answer(name).relative_to(self._folder)
            return {"clip": name, "status": "ok", "answer": path.as_posix()}
        if self._error(name).exists():
            facts = json.loads(self._error(name).read_bytes())
            why = {key: facts[key] for key in ("code", "detail")}
            return {"clip": name, "status": "error", **why}
        return None

    def _answer(self, name: str) -> Path:
        return self._folder / "answers" / f"{file_name(name)}{_ENDING}"

    def _error(self, name: str) -> Path:
        return self._folder / "errors" / f"{file_name(name)}{_ENDING}"


def file_name(name: str) -> str:
    """Returns what the file about a clip is called, without its ending: the clip's name, mostly.

    A name too long is cut and has a digest of all of it. So is one that could be another's: with a
    folder that is called as another clip's file may be, or with what looks like a digest.
    """
    *folders, last = name.split("/")
    is_short = len(os.fsencode(last)) <= _MAX_BYTES
    is_file = any(folder.endswith(_ENDING) for folder in folders)
    if is_short and not is_file and not _DIGEST.search(name):
        return name
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[-_MAX_READABLE:].lstrip("-.")
    return f"{readable}={sha256(os.fsencode(name)).hexdigest()[:20]}"


def _is_newer(outcome: Path, clip: Path) -> bool:
    try:
        return outcome.stat().st_mtime_ns >= clip.stat().st_mtime_ns
    except OSError:  # not there; or not to be read, and then sending the clip says why
        return False
