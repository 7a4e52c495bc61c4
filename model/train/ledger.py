"""Stage cache of a training run: finished stages on disk, by a hash of what they depend on.

A stage's key is a hash of its settings and of the keys of the stages it builds on, so a change
anywhere invalidates everything after it. The first rank reads and writes the cache; tensors are
computed by all ranks together, values by the first alone.
"""

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from model.distributed import ALONE, World
from weights.storage.atomic import atomic_path, write_atomic

logger = logging.getLogger(__name__)

TICK_S = 5.0
"""Interval at which an unfinished stage saves its running time: the most that a kill loses."""


def stage_key(*parts: object) -> str:
    """Returns a short hash of dataclasses and plain values."""
    plain = [asdict(p) if is_dataclass(p) and not isinstance(p, type) else p for p in parts]
    text = json.dumps(plain, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Ledger:
    """Runs stages in order, caches their results, and estimates the time left."""

    def __init__(self, folder: Path, typical_s: dict[str, float], world: World = ALONE) -> None:
        """Opens a run's folder.

        Args:
            folder: of the finished stages; shared by all ranks.
            typical_s: stage -> seconds on the reference machine, in order; stages that are not in
                it are not logged.
            world: the ranks that train together.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.world = folder, world
        self.seconds: dict[str, float] = {}
        self._typical_s = typical_s
        self._spent_s = 0.0
        self._expected_s = 0.0

    def tensors(
        self, stage: str, key: str, make: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Returns a stage's tensors, computed by `make` unless they are cached."""
        path = self.folder / f"{stage}.safetensors"
        if self._is_done(stage, key):
            logger.info("%s: done before", stage)
            return dict(load_file(path))
        made: dict[str, Tensor] = self._timed(stage, key, make)
        if self.world.is_first:
            with atomic_path(path) as temporary:
                save_file({name: tensor.contiguous() for name, tensor in made.items()}, temporary)
        self._mark(stage, key)
        return made

    def value(self, stage: str, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Returns a stage's JSON values, computed by `make` unless they are cached."""
        path = self.folder / f"{stage}.json"
        if self._is_done(stage, key):
            return dict(json.loads(path.read_text())["value"])
        made = self.world.once(lambda: dict(self._timed(stage, key, make)))
        self._mark(stage, key, made)
        return made

    def files(
        self, stage: str, key: str, make: Callable[[], None], *, shared: bool = False
    ) -> None:
        """Runs a stage that writes files of its own, unless it is cached.

        Args:
            stage: its name.
            key: hash of what it depends on.
            make: writes the files.
            shared: every rank calls `make` for its part of the files, not the first one alone.
        """
        if self._is_done(stage, key):
            logger.info("%s: done before", stage)
            return
        if shared:
            self._timed(stage, key, make)
            self.world.wait()
        else:
            self.world.once(lambda: self._timed(stage, key, make))
        self._mark(stage, key)

    def checkpoint(self, stage: str, key: str) -> Path:
        """Returns the checkpoint file of an unfinished stage."""
        return self.folder / f"{stage}-{key}.checkpoint"

    def _watch_file(self, stage: str, key: str) -> Path:
        return self.folder / f"{stage}-{key}.seconds"

    def _timed(self, stage: str, key: str, make: Callable[[], Any]) -> Any:
        if not self.world.is_first:
            return make()
        self._announce(stage)
        watch = Stopwatch(self._watch_file(stage, key))
        with watch.running():
            made = make()
        self.seconds[stage] = watch.seconds
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
        """Records that a stage is done, before the other ranks go on to read its results."""
        with self.world.rank_zero_first():
            if not self.world.is_first:
                return
            record = {"key": key, "seconds": round(self.seconds[stage], 1), "value": value}
            write_atomic(self.folder / f"{stage}.json", json.dumps(record))
            self.checkpoint(stage, key).unlink(missing_ok=True)
            self._watch_file(stage, key).unlink(missing_ok=True)

    def _is_done(self, stage: str, key: str) -> bool:
        path = self.folder / f"{stage}.json"

        def read() -> dict[str, Any]:
            return dict(json.loads(path.read_text())) if path.is_file() else {}

        record = self.world.once(read)
        if record.get("key") != key:
            return False
        self.seconds[stage] = record["seconds"]
        return True


class Stopwatch:
    """Running time of work that may be interrupted, accumulated in a file."""

    def __init__(self, path: Path) -> None:
        """Continues from the seconds in the file at `path`; an unreadable one counts as zero."""
        self._path = path
        try:
            self._before_s = float(path.read_text())
        except (OSError, ValueError):
            self._before_s = 0.0
        self._started: float | None = None
        self._stop = threading.Event()

    @property
    def seconds(self) -> float:
        """Seconds spent so far, by this process and earlier ones."""
        running_s = 0.0 if self._started is None else time.monotonic() - self._started
        return self._before_s + running_s

    @contextmanager
    def running(self, tick_s: float = TICK_S) -> Iterator[None]:
        """Counts the time inside, and saves it every `tick_s` seconds."""
        self._started = time.monotonic()
        ticker = threading.Thread(target=self._tick, args=(tick_s,), daemon=True)
        ticker.start()
        try:
            yield
        finally:
            self._stop.set()
            ticker.join()
            self._before_s, self._started = self.seconds, None
            self._save()

    def _tick(self, tick_s: float) -> None:
        while not self._stop.wait(tick_s):
            self._save()

    def _save(self) -> None:
        write_atomic(self._path, f"{self.seconds:.1f}")
