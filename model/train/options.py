"""`--set FIELD=VALUE`: any field of the configs from the command line, checked against its type."""

import argparse
import math
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from model.config import FitConfig, Learning, ModelConfig
from model.errors import SettingInvalid

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


def add_future_temperature(parser: argparse.ArgumentParser) -> None:
    """Adds `--future-temperature`, None where the bundle's own counts."""
    parser.add_argument(
        "--future-temperature",
        type=_temperature,
        metavar="T",
        help="what logits are divided by before LTA's futures are drawn (the bundle's: 1 unless "
        "it was trained with another)",
    )


def at_temperature(config: ModelConfig, temperature: float | None) -> ModelConfig:
    """Returns the config with `--future-temperature` where that was given."""
    return config if temperature is None else replace(config, future_temperature=temperature)


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


def _temperature(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return value


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
