"""Load tests of a server over HTTP; Ctrl-C reports the results so far."""

import argparse
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.load import beside_job, compare, general, overload, replicas, soak
from bench.load.loops import stop_in_order

MODES: dict[str, ModuleType] = {
    "general": general,
    "compare": compare,
    "overload": overload,
    "soak": soak,
    "latency-beside-job": beside_job,
    "replicas": replicas,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the modes, each with its flags."""
    modes = parser.add_subparsers(dest="mode", required=True)
    for name, module in MODES.items():
        doc = module.__doc__ or ""
        mode = modes.add_parser(name, help=doc.splitlines()[0], description=doc)
        # Also accepted after the mode.
        mode.add_argument("--out", type=Path, default=argparse.SUPPRESS, help="figures as JSON")
        module.add_arguments(mode)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures and returns the figures of one mode."""
    stop_in_order()
    figures: dict[str, Any] = MODES[arguments.mode].run(arguments)
    return {"mode": arguments.mode, **figures}


def table(figures: dict[str, Any]) -> str:
    """Returns the figures as text."""
    text: str = MODES[figures["mode"]].table(figures)
    return text
