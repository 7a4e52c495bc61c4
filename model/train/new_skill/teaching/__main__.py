"""Process `python -m model.train.new_skill.teaching DIR`: one request, from and to files.

DIR/request.json says what to do, on which bundle, and where the clips' features are. The result is
the folder DIR/result, there whole or not at all. It ends with 0, or with 2 and DIR/error.json where
the request is wrong; any other end means that the machine failed, and the same request can be made
again.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from extract.errors import ExtractError
from extract.features.track import FeatureTrack
from extract.features.track_file import parse_track
from model.data.tables.label_file import LabelRow
from model.data.tables.label_rows import rows_from_json
from model.data.task_file import TaskFile, parse_task
from model.errors import LabelsInvalid, ModelError, TaskInvalid
from model.predict.predictor import Predictor
from model.train.new_skill.adding import skill_files
from model.train.new_skill.teaching.comparing import compare
from model.train.new_skill.teaching.suggest import COUNT, suggest
from model.train.new_skill.teaching.teach import teach
from weights.bundle import load_bundle
from weights.errors import WeightsError
from weights.storage.atomic import sync, write_atomic
from weights.storage.folders import as_place

REQUEST, RESULT, ERROR = "request.json", "result", "error.json"
SKILL, ENTRY, REPORT = "skill.safetensors", "entry.json", "report.json"
COMPARISON, SUGGESTIONS = "comparison.json", "suggestions.json"

Files = dict[str, bytes]
"""Name -> content, of a result."""

Request = Mapping[str, Any]


def main(argv: list[str]) -> int:
    """Runs the request of a folder; returns 0, or 2 where it is wrong."""
    if len(argv) != 1:
        print("usage: python -m model.train.new_skill.teaching DIR", file=sys.stderr)
        return 2
    folder = Path(argv[0])
    request = json.loads((folder / REQUEST).read_text("utf-8"))
    torch.set_num_threads(1)  # steps are too small to gain from more
    try:
        files = ACTIONS[request["action"]](request, folder)
    except (ExtractError, ModelError, WeightsError) as error:
        found = [{"pointer": at, "message": text} for at, text in _places(error)]
        write_atomic(folder / ERROR, json.dumps({"errors": found}))
        return 2
    write_result(files, folder)
    return 0


def write_result(files: Files, folder: Path) -> None:
    """Writes the result of a request: after a crash at any instant it is there whole or not."""
    fresh = folder / f"{RESULT}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir()
        for name, data in files.items():
            (fresh / name).write_bytes(data)
            sync(fresh / name)
        sync(fresh)
        os.rename(fresh, folder / RESULT)
        sync(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _teach(request: Request, folder: Path) -> Files:
    task, rows = _task_and_rows(request)
    taught = teach(
        Predictor.from_bundle(as_place(request["bundle"])),
        task,
        rows,
        read_clips(request, folder),
        seed=request.get("seed", 0),
        method=request.get("method", "auto"),
        none_label=request.get("none_label"),
    )
    tensors, entry = skill_files(taught.own)
    return {SKILL: save(tensors), ENTRY: _json(entry), REPORT: _json(taught.report)}


def _compare(request: Request, folder: Path) -> Files:
    versions = {
        name: (
            load((folder / place / SKILL).read_bytes()),
            json.loads((folder / place / ENTRY).read_text("utf-8")),
        )
        for name, place in request["versions"].items()
    }
    found = compare(
        load_bundle(as_place(request["bundle"])),
        versions,
        rows_from_json(request["labels"]),
        read_clips(request, folder),
    )
    return {COMPARISON: _json(found)}


def _suggest(request: Request, folder: Path) -> Files:
    task = parse_task(request["task"])
    rows = rows_from_json(request["labels"], labels=task.labels) if request["labels"] else []
    found = suggest(
        Predictor.from_bundle(as_place(request["bundle"])),
        task,
        rows,
        read_clips(request, folder),
        count=request.get("count", COUNT),
        segment_s=request.get("segment_s"),
        seed=request.get("seed", 0),
    )
    return {SUGGESTIONS: _json({"segments": [asdict(one) for one in found]})}


ACTIONS: dict[str, Callable[[Request, Path], Files]] = {
    "teach": _teach,
    "compare": _compare,
    "suggest": _suggest,
}


def _task_and_rows(request: Request) -> tuple[TaskFile, list[LabelRow]]:
    task = parse_task(request["task"])
    return task, rows_from_json(request["labels"], labels=task.labels)


def read_clips(request: Request, folder: Path) -> dict[str, FeatureTrack]:
    """Returns the tracks of a request's clips, by name.

    Raises:
        FeatureFileInvalid: a file is no track.
    """
    return {
        name: parse_track((folder / place).read_bytes(), name)
        for name, place in request["clips"].items()
    }


def _places(error: Exception) -> list[tuple[str, str]]:
    """Where in the request an error is, and what it says."""
    if isinstance(error, LabelsInvalid):
        return list(error.errors)
    if isinstance(error, TaskInvalid):
        key, found, text = str(error).partition(": ")
        own = key in ("none_label", "method", "count")
        return [(f"/{key}" if own else f"/task/{key}", text if found else str(error))]
    return [("", str(error))]


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
