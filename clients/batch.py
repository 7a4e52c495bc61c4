"""Batch: a folder of clips through one server, with bounded concurrency, resumable.

The results folder:

run.json            the model and the request options; a run with others is refused
answers/NAME.json   the answer to a clip, as `predict --json` prints it
errors/NAME.json    why a clip has none
results.jsonl       a line a clip, sorted by name, made of the above

A name that is too long for a file, or could be taken for another's file, is shortened there;
results.jsonl names the file of every clip.
"""

import asyncio
import dataclasses
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from clients.api.requests import Choices, new_key
from clients.client import AsyncEgoPackClient
from clients.errors import ClientError, KeyRefused, NeedsJob, Rejected, ServerFault
from clients.output.files import DRAFT, write_whole
from clients.results.predictions import PredictionResult

SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})
"""Of the containers that the server accepts; others inside a folder are no clips."""

MAX_RETRIES = 30
"""Retries of one request to a busy server: a batch is not interactive."""

_ENDING = ".json"
_MAX_BYTES = 255 - len(f".{_ENDING}{DRAFT}")
_MAX_READABLE = 80
_DIGEST = re.compile(r"=[0-9a-f]{20}\Z")


def find_clips(paths: Iterable[Path]) -> dict[str, Path]:
    """Returns name -> clip, sorted by name.

    A clip in a folder is named by its path below the folder, a file by its name.

    Args:
        paths: folders, searched recursively by suffix, and files of any suffix.

    Raises:
        ValueError: there is no clip, or two would have one name.
        OSError: a path does not exist.
    """
    found: dict[str, Path] = {}
    for path in paths:
        for name, clip in _clips_of(path):
            if name in found and not clip.samefile(found[name]):
                raise ValueError(f"{found[name]} and {clip} would both be called {name}")
            found[name] = clip
    if not found:
        raise ValueError(f"no clip found; those in folders end in {', '.join(sorted(SUFFIXES))}")
    return dict(sorted(found.items()))


def _clips_of(path: Path) -> Iterable[tuple[str, Path]]:
    if not path.is_dir():
        path.stat()  # raises if it does not exist
        return [(path.name, path)]
    files = (one for one in path.rglob("*") if one.suffix.lower() in SUFFIXES and one.is_file())
    return [(one.relative_to(path).as_posix(), one) for one in files]


class BatchFolder:
    """The results of one batch on disk.

    Attributes:
        run_id: random id of the batch; empty until `begin`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.run_id = ""

    def begin(self, model: Mapping[str, str], options: Mapping[str, Any]) -> None:
        """Writes run.json, or checks that model and options are those that it has.

        Args:
            model: name, version and sha256 of the served model.
            options: of every request.

        Raises:
            ValueError: the folder holds a batch of another model or with other options.
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
        """Whether there is an answer that is newer than the clip."""
        return _is_newer(self._answer(name), clip)

    def has_error(self, name: str, clip: Path) -> bool:
        """Whether there is an error that is newer than the clip."""
        return _is_newer(self._error(name), clip)

    def keep_answer(self, name: str, result: PredictionResult) -> None:
        """Writes the answer to a clip."""
        text = json.dumps(dataclasses.asdict(result), indent=1)
        write_whole(self._answer(name), text + "\n")
        self._error(name).unlink(missing_ok=True)

    def keep_error(self, name: str, error: Exception) -> None:
        """Writes the error that a clip met."""
        code = error.code if isinstance(error, ClientError) else "unreadable-file"
        facts = {"code": code, "detail": str(error)}
        if isinstance(error, ClientError):
            facts["request_id"] = error.request_id
        write_whole(self._error(name), json.dumps(facts, indent=1) + "\n")
        self._answer(name).unlink(missing_ok=True)

    def write_rows(self, names: Iterable[str]) -> tuple[int, int]:
        """Writes the outcomes to results.jsonl; returns the counts of answers and errors."""
        rows = [row for name in names if (row := self._row(name)) is not None]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_whole(self._folder / "results.jsonl", text)
        failed = sum(row["status"] == "error" for row in rows)
        return len(rows) - failed, failed

    def answers(self, names: Iterable[str]) -> Iterator[tuple[str, PredictionResult]]:
        """Yields the name and the answer of every clip that has one."""
        for name in names:
            if self._answer(name).exists():
                yield name, PredictionResult.from_dict(json.loads(self._answer(name).read_bytes()))

    def _row(self, name: str) -> dict[str, Any] | None:
        """The line of a clip: only what every run of the batch would write alike."""
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
    """Returns the stem of a clip's result file: the clip's name, unless that is ambiguous.

    A name that is too long is cut and gets a digest. So does one that could collide with another:
    below a folder named like a result file, or ending in what looks like a digest.
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
    except OSError:  # no such file; or an unreadable clip, and then sending it reports that
        return False


@dataclasses.dataclass(frozen=True)
class BatchRunner:
    """Sends clips from one list, a few at a time.

    Attributes:
        client: of the server.
        folder: where every outcome is written as soon as it is there.
        choices: options of every request.
        sha256: of the model that the batch began with.
        on_done: called after each clip with whether it was answered.
    """

    client: AsyncEgoPackClient
    folder: BatchFolder
    choices: Choices
    sha256: str
    on_done: Callable[[bool], None]

    async def run(self, clips: Mapping[str, Path], *, concurrency: int) -> None:
        """Returns once every clip has an outcome; at most `concurrency` requests run at once.

        Raises:
            KeyRefused, Busy, Unreachable: no later clip could be answered; outcomes so far stay.
            ServerFault: the server has begun to serve another model.
        """
        left = iter(clips.items())
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(concurrency, len(clips))):
                    group.create_task(self._work(left))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from errors

    async def _work(self, left: Iterator[tuple[str, Path]]) -> None:
        for name, clip in left:
            try:
                result = await self._answer(name, clip)
            except KeyRefused:
                raise
            except (Rejected, ServerFault, OSError) as error:
                self.folder.keep_error(name, error)
                self.on_done(False)
                continue
            if result.model.sha256 != self.sha256:
                raise ServerFault("the server has begun to serve another model; begin anew")
            self.folder.keep_answer(name, result)
            self.on_done(True)

    async def _answer(self, name: str, clip: Path) -> PredictionResult:
        try:
            return await self.client.predict(clip, **self.choices)
        except NeedsJob:
            key = self._key(name, clip)
            job = await self.client.submit(clip, idempotency_key=key, **self.choices)
            await self.client.wait(job.id)
            return await self.client.result(job.id)

    def _key(self, name: str, clip: Path) -> str | None:
        """Idempotency key: the same in every run of a batch, so that a job outlives a killed run.

        None, a new key, after a failure: the old key stands for the job that failed.
        """
        if self.folder.has_error(name, clip):
            return None
        stat = clip.stat()
        facts = f"{self.folder.run_id}/{stat.st_size}/{stat.st_mtime_ns}/{name}"
        return sha256(os.fsencode(facts)).hexdigest()
