"""Task file of a user-defined task (TOML), as one more row of the task table.

The kind of the task decides which other keys the file may have.
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from model.config import FitConfig
from model.errors import TaskInvalid
from model.tasks import FIXED_LABELS, TASKS, Readout, Sampling, TaskSpec

NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")

TAKEN = {*TASKS, *FIXED_LABELS, "verb", "noun", "own", "segments", "skills", "evidence", "scores"}
"""Names with another meaning in an answer; attributes of a module are refused, too."""

EPOCHS = 30
LEAST_STEPS = 300
"""Minimum of training steps if the file has no `epochs`."""

DEFAULT_FIT = FitConfig(
    epochs=EPOCHS,
    learning_rate=5e-4,
    batch_size=32,
    warmup_epochs=2,
    context_dropout=0.3,
    weight_decay=1e-2,
    decoupled_decay=True,
)

KINDS: dict[str, dict[str, int]] = {
    "segment": {"nodes": 9},
    "graph": {"parts": 4},
    "localise": {"nodes": 16},
    "forecast": {"observed": 2, "future": 20},
}
"""Kind -> its own keys and their defaults: those of AR, OSCC, PNR and LTA."""

MOST_NODES = 256


@dataclass(frozen=True)
class TaskFile:
    """Content of a task file.

    Attributes:
        kind: one of `KINDS`.
        spec: row of the task table; its one output has the task's name.
        labels: names by id; None takes those of the labels file.
        fit: training configuration without `epochs`.
        epochs: passes over the labels; None derives them from the number of labels.
    """

    kind: str
    spec: TaskSpec
    labels: tuple[str, ...] | None
    fit: FitConfig
    epochs: int | None

    def fit_for(self, num_samples: int) -> FitConfig:
        """Returns the training configuration for a number of samples."""
        steps = -(-num_samples // self.fit.batch_size)
        return replace(self.fit, epochs=self.epochs or max(EPOCHS, -(-LEAST_STEPS // steps)))


def read_task(path: Path) -> TaskFile:
    """Reads a task file.

    Raises:
        TaskInvalid: the file is missing or not TOML, or a key is unknown or invalid.
    """
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise TaskInvalid(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TaskInvalid(f"{path}: not TOML: {error}") from error
    try:
        return parse_task(values)
    except TaskInvalid as error:
        raise TaskInvalid(f"{path}: {error}") from error


def parse_task(values: Mapping[str, Any]) -> TaskFile:
    """Returns the task of a task file's keys.

    Raises:
        TaskInvalid: a key is unknown or invalid; the message begins with it.
    """
    kind = _get(values, "kind", lambda v: v in list(KINDS), f"one of {', '.join(KINDS)}")
    own = KINDS[kind]
    general = {"name", "kind", "labels", "reach", "epochs", "learning_rate", "batch_size"}
    if kind == "localise":
        general.discard("labels")  # there is one thing to find, and it is the task
    for key in values:
        if key not in general | set(own):
            allowed = ", ".join(sorted(general | set(own)))
            raise TaskInvalid(f"{key}: no such key in a {kind} task; allowed: {allowed}")
    name = _name(values)
    counts = {key: _count(values, key, default) for key, default in own.items()}
    reach = _get(values, "reach", _is_positive, "a number above 0", default=1.5)
    rate = _get(
        values,
        "learning_rate",
        lambda v: _is_positive(v) and v <= 1,
        "a number above 0, at most 1",
        default=DEFAULT_FIT.learning_rate,
    )
    return TaskFile(
        kind=kind,
        spec=_spec(kind, name, counts, float(reach)),
        labels=(name,) if kind == "localise" else _labels(values),
        fit=replace(
            DEFAULT_FIT,
            learning_rate=float(rate),
            batch_size=_count(values, "batch_size", DEFAULT_FIT.batch_size, most=4096),
        ),
        epochs=_count(values, "epochs", 0, most=100_000) or None,
    )


def _spec(kind: str, name: str, counts: Mapping[str, int], reach: float) -> TaskSpec:
    """A row of the task table, like the built-in task of the same kind."""
    if kind == "segment":
        nodes = counts["nodes"]
        if nodes % 2 == 0:
            raise TaskInvalid(
                f"nodes: expected an odd number, so that one is the middle, got {nodes}"
            )
        return TaskSpec(
            name, Sampling.ACTIONS, Readout.CENTRE, nodes, nodes, (name,), reach, -(nodes // 2)
        )
    if kind == "graph":
        parts = counts["parts"]
        return TaskSpec(name, Sampling.UNIFORM, Readout.GRAPH, 1, parts, (name,), reach)
    if kind == "localise":
        nodes = counts["nodes"]
        if nodes < 2:
            raise TaskInvalid(f"nodes: expected at least 2 instants to choose from, got {nodes}")
        return TaskSpec(name, Sampling.INSTANTS, Readout.NODES, 1, nodes, (name,), reach)
    observed, future = counts["observed"], counts["future"]
    return TaskSpec(
        name, Sampling.ACTIONS, Readout.FUTURE, observed, observed + future, (name,), reach
    )


def _name(values: Mapping[str, Any]) -> str:
    rule = "1 to 32 of a-z, 0-9, _ and -, a letter first"
    name: str = _get(
        values, "name", lambda v: isinstance(v, str) and NAME.fullmatch(v) is not None, rule
    )
    if name in TAKEN or hasattr(nn.ModuleDict(), name):  # a layer of a module carries the name
        raise TaskInvalid(f"name: {name!r} means something else here; choose another")
    return name


def _labels(values: Mapping[str, Any]) -> tuple[str, ...] | None:
    def is_list(value: Any) -> bool:
        return (
            isinstance(value, list)
            and all(isinstance(v, str) and v and v == v.strip() for v in value)
            and len(set(value)) == len(value) >= 2
        )

    rule = "a list of at least 2 different names, without spaces around them"
    listed = _get(values, "labels", is_list, rule, default=None)
    return None if listed is None else tuple(listed)


def _count(values: Mapping[str, Any], key: str, default: int, *, most: int = MOST_NODES) -> int:
    def is_count(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most

    return int(_get(values, key, is_count, f"a whole number from 1 to {most}", default=default))


_REQUIRED = object()


def _get(
    values: Mapping[str, Any],
    key: str,
    is_right: Callable[[Any], bool],
    rule: str,
    *,
    default: Any = _REQUIRED,
) -> Any:
    if key not in values:
        if default is _REQUIRED:
            raise TaskInvalid(f"{key}: missing; expected {rule}")
        return default
    value = values[key]
    if not is_right(value):
        raise TaskInvalid(f"{key}: expected {rule}, got {value!r:.80}")
    return value


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e6
