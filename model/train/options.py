"""Command-line options of training: shared flags, and `--set FIELD=VALUE` for any config field."""

import argparse
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from model.config import FitConfig, Learning, ModelConfig
from model.data.annotations import FEATURES, VERSIONS
from model.data.missing import Missing
from model.data.task_samples import Enumeration
from model.errors import SettingInvalid
from model.evaluate.options import add_lta_windows
from model.evaluate.paper import WINDOWS
from model.tasks import TASKS
from model.train.methods.trainer import NEEDS_OTHERS

FIT = "fit."
"""Prefix of the fields of `FitConfig`."""


class TrainingOptions(argparse.Namespace):
    """Flags of every command that trains on a whole data set, after `check_options`."""

    data: Path | None
    version: str | None
    features: str | None
    missing: Missing
    preset: Literal["paper", "authors"]
    lta_windows: Enumeration
    tasks: tuple[str, ...]
    settings: list[str]
    device: str


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `TrainingOptions`, `--device` aside."""
    parser.add_argument(
        "--tasks",
        nargs="+",
        choices=list(TASKS),
        default=list(TASKS),
        help="tasks to train (default: all four)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="FIELD=VALUE",
        help="overrides the preset: a field of ModelConfig (distance=l2, fusion=features, ...) or, "
        "as fit.FIELD, of FitConfig; may be repeated",
    )
    data = parser.add_argument_group("data in Ego4D's layout")
    data.add_argument("--data", type=Path, help="folder that holds v1/ or v2/")
    data.add_argument(
        "--version", choices=VERSIONS, help="version of the annotations (default: v1, else v2)"
    )
    data.add_argument(
        "--features",
        help=f"name of a released feature set, a folder or a URL (default: {FEATURES})",
    )
    data.add_argument(
        "--missing",
        choices=get_args(Missing),
        help="treatment of videos without features: end, or skip their samples (default: refuse)",
    )
    data.add_argument(
        "--preset", choices=["paper", "authors"], help="hyper-parameters (default: paper)"
    )
    add_lta_windows(data, f"{WINDOWS} with --preset authors and in reproduce, else current")


def check_options(
    parser: argparse.ArgumentParser,
    options: TrainingOptions,
    methods: Sequence[str],
    *,
    unused: Sequence[str] = (),
    lta_windows: Enumeration = "current",
) -> None:
    """Sets defaults, and ends the command where flags contradict or would have no effect.

    Args:
        parser: reports the error.
        options: as parsed; changed in place.
        methods: to train.
        unused: flags that have no effect on these data.
        lta_windows: default; the authors' preset has its own.
    """
    alone = [m for m in methods if m in NEEDS_OTHERS]
    if len(set(options.tasks)) < 2 and alone:
        parser.error(f"{', '.join(alone)} needs at least two --tasks: one novel, one known")
    values = vars(options)
    if given := [f"--{name}" for name in unused if values[name.replace("-", "_")]]:
        parser.error(f"{', '.join(given)}: for data in Ego4D's layout alone, and there is none")
    values["preset"] = values["preset"] or "paper"
    values["missing"] = values["missing"] or "refuse"
    default = WINDOWS if options.preset == "authors" else lta_windows
    values["lta_windows"] = values["lta_windows"] or default
    options.tasks = tuple(options.tasks)


def override(learning: Learning, settings: Sequence[str]) -> Learning:
    """Returns a configuration with some fields changed.

    Args:
        learning: the preset.
        settings: "field=value" of `ModelConfig`, "fit.field=value" of every `FitConfig`.

    Raises:
        SettingInvalid: a field is unknown, or a value is not of its type or range.
    """
    model: dict[str, Any] = {}
    fit: dict[str, Any] = {}
    for setting in settings:
        name, found, text = setting.partition("=")
        if not found:
            raise SettingInvalid(f"--set {setting}: expected FIELD=VALUE")
        if name.startswith(FIT):
            fit[name.removeprefix(FIT)] = _value(FitConfig, name.removeprefix(FIT), text, FIT)
        else:
            model[name] = _value(ModelConfig, name, text, "")
    try:
        changed = replace(learning, model=replace(learning.model, **model))
        return changed.refit(lambda config: replace(config, **fit))
    except ValueError as error:
        raise SettingInvalid(f"--set: {error}") from error


def _value(config: type, name: str, text: str, prefix: str) -> Any:
    kind = get_type_hints(config).get(name)
    if kind is None:
        known = ", ".join(f"{prefix}{field.name}" for field in fields(config))
        raise SettingInvalid(f"--set {prefix}{name}: no such field; there are {known}")
    if get_origin(kind) is Literal:
        return _one_of(f"{prefix}{name}", text, {str(value): value for value in get_args(kind)})
    if kind is bool:
        return _one_of(f"{prefix}{name}", text, {"true": True, "false": False})
    try:
        return kind(text)
    except ValueError as error:
        message = f"--set {prefix}{name}: expected {kind.__name__}, got {text!r}"
        raise SettingInvalid(message) from error


def _one_of(name: str, text: str, allowed: dict[str, Any]) -> Any:
    if text not in allowed:
        raise SettingInvalid(f"--set {name}: expected one of {', '.join(allowed)}, got {text!r}")
    return allowed[text]
