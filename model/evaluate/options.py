"""Command-line flags that evaluation, scoring and training share."""

import argparse
import math
from dataclasses import replace
from typing import get_args

from model.config import ModelConfig
from model.data.task_samples import Enumeration


def add_lta_windows(parser: argparse._ActionsContainer, default: str) -> None:
    """Adds which of LTA's windows count, None where it is left to the `default` in words."""
    parser.add_argument(
        "--lta-windows",
        choices=list(get_args(Enumeration)),
        help="before-2023-08 leaves out each clip's last window, as the published numbers did "
        f"(default: {default})",
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


def _temperature(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return value
