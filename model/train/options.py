"""Command-line options of training: shared flags, and `--set FIELD=VALUE` for any config field."""

import argparse
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from extract.contract import Color
from extract.encoders.load import SPEC_HELP, add_encoder_options
from model.config import FitConfig, Learning, ModelConfig
from model.data.annotations import FEATURES, VERSIONS
from model.data.missing import Missing
from model.data.tables.kinds import KINDS
from model.data.tables.overlaps import Overlaps
from model.data.tables.rare import Rare
from model.data.task_samples import Enumeration
from model.errors import SettingInvalid
from model.evaluate.options import add_lta_windows, add_table_source, data_source, given
from model.evaluate.paper import WINDOWS
from model.tasks import AR, LTA, TASKS
from model.train.methods.trainer import NEEDS_OTHERS, has_backpack

PresetName = Literal["paper", "authors", "small"]

FIT = "fit."
"""Prefix of the fields of `FitConfig`."""


class TrainingOptions(argparse.Namespace):
    """Flags of every command that trains on a whole data set, after `check_options`."""

    data: Path | str | None
    version: str | None
    features: str | None
    missing: Missing
    preset: PresetName
    lta_windows: Enumeration
    tasks: tuple[str, ...]
    settings: list[str]
    device: str
    videos: Path | None
    encoder: str | None
    weights: Path
    color: Color | None
    accept_license: bool
    outputs: list[str] | None
    prototypes: list[str] | None
    rare: Rare | None
    rare_below: int | None
    overlaps: Overlaps | None
    fps: float | None

    @property
    def is_table(self) -> bool:
        """Whether the data are a data set by name, `KIND:ROOT`; its tasks are known once read."""
        return isinstance(self.data, str)


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `TrainingOptions`, `--device` aside."""
    parser.add_argument(
        "--tasks",
        nargs="+",
        metavar="TASK",
        help=f"tasks to train: of {', '.join(TASKS)}, or of the table's (default: all)",
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
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        type=data_source,
        help="a folder in Ego4D's layout, which holds v1/ or v2/, or a data set by name, "
        f"KIND:ROOT, of a kind {', '.join(KINDS)}",
    )
    data.add_argument(
        "--features",
        help="a folder or a URL of features, or the name of a released set of Ego4D "
        f"(default: {FEATURES}; made of --videos for data by name)",
    )
    data.add_argument(
        "--preset",
        choices=get_args(PresetName),
        help="hyper-parameters (default: paper; small, for some thousand segments, for data by "
        "name)",
    )
    data = parser.add_argument_group("data in Ego4D's layout")
    data.add_argument(
        "--version", choices=VERSIONS, help="version of the annotations (default: v1, else v2)"
    )
    data.add_argument(
        "--missing",
        choices=get_args(Missing),
        help="treatment of videos without features: end, or skip their samples (default: refuse)",
    )
    add_lta_windows(data, f"{WINDOWS} with --preset authors and in reproduce, else current")


def add_table_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `TrainingOptions` that are for data by name, `KIND:ROOT`."""
    add_table_source(parser)
    parser.add_argument(
        "--encoder", help=f"makes the features, and goes into the bundle: {SPEC_HELP}"
    )
    add_encoder_options(parser)
    parser.add_argument(
        "--outputs", nargs="+", metavar="COLUMN", help="columns to learn (default: all with labels)"
    )
    parser.add_argument(
        "--prototypes",
        nargs="+",
        metavar="COLUMN",
        help="columns whose combinations are the rows of the backpack (default: verb and noun)",
    )
    parser.add_argument(
        "--rare",
        choices=get_args(Rare),
        help="labels that val or test have and train lacks: refuse them, merge them to one label, "
        "or drop their rows (default: error)",
    )
    parser.add_argument(
        "--rare-below",
        type=int,
        metavar="N",
        help="training rows that a label needs not to be rare (default: 1, for merge 5)",
    )


TABLE_FLAGS = (
    *("videos", "encoder", "color", "outputs", "prototypes", "rare", "rare-below"),
    *("overlaps", "fps"),
)
"""For data by name alone."""


def _check_table_options(parser: argparse.ArgumentParser, options: TrainingOptions) -> None:
    """Ends the command where a data set by name cannot be used with the flags."""
    if wrong := given(options, ("version", "missing", "lta-windows")):
        parser.error(f"{wrong}: for data in Ego4D's layout alone, and {options.data} is by name")
    if options.videos is None and options.features is None:
        parser.error(
            "--data by name needs features: made here of --videos DIR by --encoder NAME, or in "
            "--features DIR, as python -m extract writes them"
        )
    if options.videos is not None and options.encoder is None:
        parser.error("--videos: an encoder makes their features; name one with --encoder")
    if options.rare_below is not None and options.rare_below < 1:
        parser.error(f"--rare-below: expected 1 or more training rows, got {options.rare_below}")


def check_tasks(options: TrainingOptions, method: str, *, forecasts: bool) -> None:
    """Checks flags against the tasks of a table, which are known once it is read.

    Args:
        options: with the tasks.
        method: to train.
        forecasts: whether a sequence forecaster is asked for.

    Raises:
        SettingInvalid: they do not suit each other.
    """
    tasks = options.tasks
    if len(tasks) < 2 and method in NEEDS_OTHERS and method != "egopack-shared":
        raise SettingInvalid(f"--method {method}: needs two tasks, and there is only {tasks[0]}")
    if forecasts and not {AR.name, LTA.name} <= set(tasks):
        raise SettingInvalid("--forecaster: looks back on AR and answers LTA, and one is missing")
    if options.prototypes and not has_backpack(method, tasks):
        raise SettingInvalid(f"--prototypes: there is no backpack with --method {method}")


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
        options: as parsed; changed in place. Without `--tasks`, those of a table stay empty.
        methods: to train.
        unused: flags that have no effect on these data.
        lta_windows: default; the authors' preset has its own.
    """
    values = vars(options)
    if options.is_table:
        _check_table_options(parser, options)
    else:
        if wrong := given(options, unused):
            parser.error(f"{wrong}: for data in Ego4D's layout alone, and there is none")
        if wrong := given(options, TABLE_FLAGS):
            parser.error(f"{wrong}: for --data by name alone, KIND:ROOT")
        values["tasks"] = options.tasks or list(TASKS)
        if unknown := [task for task in options.tasks if task not in TASKS]:
            parser.error(f"--tasks: expected of {', '.join(TASKS)}, got {', '.join(unknown)}")
        alone = [m for m in methods if m in NEEDS_OTHERS]
        if len(set(options.tasks)) < 2 and alone:
            parser.error(f"{', '.join(alone)} needs at least two --tasks: one novel, one known")
    values["preset"] = values["preset"] or ("small" if options.is_table else "paper")
    values["missing"] = values["missing"] or "refuse"
    default = WINDOWS if options.preset == "authors" else lta_windows
    values["lta_windows"] = values["lta_windows"] or default
    options.tasks = tuple(options.tasks or ())


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
