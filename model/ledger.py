"""Finished stages of a run on disk: what was made from what, so that a rerun skips it.

A stage's key is a hash of its settings and of the keys of the stages it builds on; a change
anywhere makes everything after it again.
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

logger = logging.getLogger(__name__)


def stage_key(*parts: object) -> str:
    """Returns a short hash of dataclasses and plain values."""
    plain = [asdict(p) if is_dataclass(p) and not isinstance(p, type) else p for p in parts]
    text = json.dumps(plain, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Ledger:
    """Runs stages in order, remembers them, and says how long the rest may take."""

    def __init__(self, folder: Path, typical_s: dict[str, float]) -> None:
        """Opens a run's folder.

        Args:
            folder: where finished stages lie.
            typical_s: stage -> seconds it took on the machine the estimates come from, in order;
                stages that are not in it are not announced.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.seconds: dict[str, float] = {}
        self._typical_s = typical_s
        self._spent_s = 0.0
        self._expected_s = 0.0

    def tensors(
        self, stage: str, key: str, make: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Returns a stage's tensors, made now or before."""
        path = self.folder / f"{stage}.safetensors"
        if self._is_done(stage, key):
            logger.info("%s: done before", stage)
            return dict(load_file(path))
        made: dict[str, Tensor] = self._timed(stage, make)
        part = path.with_suffix(".part")
        save_file({name: tensor.contiguous() for name, tensor in made.items()}, part)
        os.replace(part, path)
        self._mark(stage, key)
        return made

    def value(self, stage: str, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Returns a stage's plain JSON values, made now or before."""
        path = self.folder / f"{stage}.json"
        if self._is_done(stage, key):
            return dict(json.loads(path.read_text())["value"])
        made: dict[str, Any] = self._timed(stage, make)
        self._mark(stage, key, made)
        return made

    def files(self, stage: str, key: str, make: Callable[[], None]) -> None:
        """Runs a stage whose result is files of its own."""
        if self._is_done(stage, key):
            logger.info("%s: done before", stage)
            return
        self._timed(stage, make)
        self._mark(stage, key)

    def checkpoint(self, stage: str, key: str) -> Path:
        """Returns where an unfinished stage keeps its last epoch."""
        return self.folder / f"{stage}-{key}.checkpoint"

    def _timed(self, stage: str, make: Callable[[], Any]) -> Any:
        self._announce(stage)
        start = time.monotonic()
        made = make()
        self.seconds[stage] = time.monotonic() - start
        self._spent_s += self.seconds[stage]
        self._expected_s += self._typical_s.get(stage, 0.0)
        return made

    def _announce(self, stage: str) -> None:
        names = list(self._typical_s)
        if stage not in names:
            return
        rest = sum(self._typical_s[name] for name in names[names.index(stage) :])
        pace = self._spent_s / self._expected_s if self._expected_s else 1.0
        logger.info(
            "stage %d of %d: %s; about %.0f min left in all",
            names.index(stage) + 1, len(names), stage, max(1.0, rest * pace / 60),
        )  # fmt: skip

    def _mark(self, stage: str, key: str, value: object = None) -> None:
        record = {"key": key, "seconds": round(self.seconds[stage], 1), "value": value}
        part = self.folder / f"{stage}.json.part"
        part.write_text(json.dumps(record))
        os.replace(part, self.folder / f"{stage}.json")
        self.checkpoint(stage, key).unlink(missing_ok=True)

    def _is_done(self, stage: str, key: str) -> bool:
        path = self.folder / f"{stage}.json"
        if not path.is_file():
            return False
        record = json.loads(path.read_text())
        if record["key"] != key:
            return False
        self.seconds[stage] = record["seconds"]
        return True
