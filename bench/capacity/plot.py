"""Figures of plans and checks, in colours for colour-blind readers."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.capacity.sizing import Plan
from model.evaluate.report.figures import BLUE, GREY, ORANGE

_STYLE: Any = {"font.size": 9, "svg.hashsalt": "capacity", "svg.fonttype": "none"}


def draw_plans(path: Path, boxes: Sequence[Plan], gpus: Sequence[Plan], currency: str) -> None:
    """Draws cores and price over streams as SVG; without plans with GPUs, one curve each."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 3.0), layout="constrained")
        cores, price = figure.subplots(1, 2)
        for plans, colour, name in ((boxes, BLUE, "CPU alone"), (gpus, ORANGE, "encoder on GPUs")):
            if plans:
                streams = [plan.demand.streams for plan in plans]
                style: dict[str, Any] = {"color": colour, "marker": "o", "label": name}
                cores.plot(streams, [plan.cores for plan in plans], **style)
                price.plot(streams, [plan.per_1000_hours for plan in plans], **style)
        _label(cores, "live streams", "cores")
        _label(price, "live streams", f"{currency} for 1 000 hours")
        for axes in (cores, price):
            axes.set(xscale="log", yscale="log")
        _write(figure, path)


def draw_check(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Draws the percentiles of every open load as SVG: met, simulated and by closed form.

    The rows are those of `compare.predicted`.
    """
    opened = [row for row in rows if row["rate"]]
    rates = [row["rate"] for row in opened]
    ways = (("met", GREY, "o"), ("simulated", BLUE, "s"), ("closed_form", ORANGE, "^"))
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 3.0), layout="constrained")
        for axes, name in zip(figure.subplots(1, 2), ("p50_ms", "p99_ms"), strict=True):
            for way, colour, marker in ways:
                found = [row[way][name] for row in opened]
                seconds = [math.nan if ms is None else ms / 1000 for ms in found]
                label = way.replace("_", " ")
                axes.plot(rates, seconds, color=colour, marker=marker, label=label)
            _label(axes, "clips a second", f"{name.removesuffix('_ms')}, s")
            axes.set_ylim(bottom=0)
        _write(figure, path)


def _label(axes: Axes, across: str, up: str) -> None:
    axes.set(xlabel=across, ylabel=up)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


def _write(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="svg", metadata={"Date": None})
