"""`--set FIELD=VALUE`: any field of the configs from the command line, checked against its type."""

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
"""Before the name of a field of `FitConfig`."""


def add_setting_argument(parser: argparse.ArgumentParser) -> None:
    """Adds `--set`, as often as wanted."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="FIELD=VALUE",
        help="any field of ModelConfig (distance=l2, fusion=features, ...) or, as fit.FIELD, of "
        "FitConfig, over the preset's",
    )


def add_task_argument(parser: argparse.ArgumentParser) -> None:
    """Adds the choice of tasks: an EgoPack needs two, one novel and one known."""
    parser.add_argument(
        "--tasks", nargs="+", choices=list(TASKS), default=list(TASKS), help="to learn (all four)"
    )


def check_tasks(
    parser: argparse.ArgumentParser, tasks: Sequence[str], methods: Sequence[str]
) -> None:
    """Ends the command where a method has no known task to learn from."""
    alone = [m for m in methods if m in NEEDS_OTHERS]
    if len(set(tasks)) < 2 and alone:
        parser.error(f"{', '.join(alone)} needs at least two --tasks: one novel, one known")


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what every command says of a data set in Ego4D's layout."""
    data = parser.add_argument_group("data in Ego4D's layout")
    data.add_argument("--data", type=Path, help="folder that holds v1/ or v2/")
    data.add_argument(
        "--version", choices=VERSIONS, help="which of them (default: v1 where it is there, else v2)"
    )
    data.add_argument("--features", help=f"name of a released set ({FEATURES}), a folder, a URL")
    data.add_argument(
        "--missing",
        choices=get_args(Missing),
        help="what to do about videos without features: end, or skip their samples (refuse)",
    )
    data.add_argument("--preset", choices=["paper", "authors"], help="hyper-parameters (paper)")
    add_lta_windows(data, f"{WINDOWS} with --preset authors and in reproduce, else current")


def settle_data_arguments(
    parser: argparse.ArgumentParser,
    arguments: argparse.Namespace,
    *,
    unused: Sequence[str] = (),
    lta_windows: Enumeration = "current",
) -> None:
    """Fills in what was left out, and ends the command where an option would be ignored.

    Args:
        parser: whose options they are.
        arguments: what was given.
        unused: options that nothing would look at.
        lta_windows: where none are named; the authors' preset has its own.
    """
    given = [f"--{name}" for name in unused if getattr(arguments, name.replace("-", "_"))]
    if given:
        parser.error(f"{', '.join(given)}: for data in Ego4D's layout alone, and there is none")
    arguments.preset = arguments.preset or "paper"
    arguments.missing = arguments.missing or "refuse"
    default = WINDOWS if arguments.preset == "authors" else lta_windows
    arguments.lta_windows = arguments.lta_windows or default


def override(learning: Learning, settings: Sequence[str]) -> Learning:
    """Returns settings with some fields changed.

    Args:
        learning: what to start from.
        settings: "field=value" of `ModelConfig`, "fit.field=value" of every `FitConfig`.

    Raises:
        SettingInvalid: a field is unknown or a value does not fit it.
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
