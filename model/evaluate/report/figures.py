"""Figures of a report, in Okabe and Ito's colours for colour-blind readers.

matplotlib, which takes a second to import, is imported by the first figure.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from model.evaluate.metrics import Reliability

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#888888"
_SHADES = "Blues"  # light to dark in one hue: the order survives any colour vision
_PANEL_IN = 3.2
_CELL_IN = 0.3
_ACROSS = 3  # panels side by side
_DPI = 144
_STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # labels of a taxonomy may hold dollars
}


def reliability_figure(before: Reliability, after: Reliability, *, temperature: float) -> Figure:
    """Draws a reliability diagram, without and with the temperature.

    Dots grow with the number of answers; the diagonal is perfect calibration.
    """
    with _figure(1, 1, size=(4.2, 3.8)) as (figure, (axes,)):
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
        curves = ((before, ORANGE, "s", "summed logits"),
                  (after, BLUE, "o", f"divided by {temperature:.2f}"))  # fmt: skip
        for curve, colour, marker, label in curves:
            there = curve.count > 0
            share = curve.count[there] / curve.count.sum()
            x, y = curve.confidence[there], curve.accuracy[there]
            axes.plot(x, y, color=colour, linewidth=1.2)
            axes.scatter(x, y, s=12 + 250 * share, color=colour, marker=marker, alpha=0.75)
            axes.plot([], [], color=colour, marker=marker, label=label)
        axes.set(xlim=(0, 1.02), ylim=(-0.02, 1.02), xlabel="confidence", ylabel="share right")
        axes.legend(loc="upper left", frameon=False)
    return figure


def confusion_figure(counts: NDArray[np.int64], names: Sequence[str]) -> Figure:
    """Draws a confusion matrix, each row as shares of its true class (Fig. 6)."""
    support = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, support, out=np.zeros(counts.shape), where=support > 0)
    labels = [short(name) for name in names]
    side = max(_CELL_IN * len(names), 1.6)
    with _figure(1, 1, size=(side + 1.3, side + 1.1)) as (figure, (axes,)):
        _heat(axes, shares, rows=labels, columns=labels, top=1.0)
        axes.set(xlabel="decided", ylabel="true")
    return figure


def agreement_figure(panels: Mapping[str, tuple[Sequence[str], NDArray[np.float64]]]) -> Figure:
    """Draws the agreement of votes, one panel per output (Fig. 7).

    Args:
        panels: "task.output" -> names of the votes and (V, V) shares.
    """
    columns = min(len(panels), _ACROSS)
    with _figure(math.ceil(len(panels) / columns), columns) as (figure, places):
        for axes, (title, (names, shares)) in zip(places, panels.items(), strict=False):
            _heat(axes, shares, rows=names, columns=names, top=1.0)
            axes.set_title(title)
        for axes in places[len(panels) :]:
            axes.set_axis_off()
    return figure


def closest_figure(
    panels: Mapping[str, NDArray[np.float64]], rows: Sequence[str], columns: Sequence[str]
) -> Figure:
    """Draws the prototypes that each class retrieves, one panel per perspective (Fig. 5).

    Args:
        panels: perspective -> (rows, columns) shares of a class's retrievals.
        rows: classes of the samples.
        columns: verbs (or nouns) of the prototypes.
    """
    top = max(float(shares.max()) for shares in panels.values())
    across = len(panels) * (_CELL_IN * len(columns) + 0.2) + 1.0
    size = (across, _CELL_IN * len(rows) + 1.3)
    shown = [short(name) for name in columns]
    with _figure(1, len(panels), size=size) as (figure, places):
        for axes, (title, shares) in zip(places, panels.items(), strict=True):
            first = axes is places[0]
            sample = [short(name) for name in rows] if first else [""] * len(rows)
            _heat(axes, shares, rows=sample, columns=shown, top=top)
            axes.set(title=f"perspective {title}", xlabel="prototype")
        places[0].set_ylabel("sample")
    return figure


def contrast_figure(
    panels: Mapping[str, NDArray[np.float64]], classes: Sequence[str], columns: Sequence[str]
) -> Figure:
    """Draws the same for two classes as bars side by side, one panel per perspective (Fig. 5).

    Args:
        panels: perspective -> (2, columns) shares of a class's retrievals.
        classes: the two classes.
        columns: verbs (or nouns) of the prototypes.
    """
    height = 0.26 * len(columns) + 1.3
    with _figure(1, len(panels), size=(_PANEL_IN * len(panels), height)) as (figure, places):
        place = np.arange(len(columns))[::-1]
        for axes, (title, shares) in zip(places, panels.items(), strict=True):
            for shift, colour, hatch, label, share in zip(
                (0.2, -0.2), (BLUE, ORANGE), ("", "////"), classes, shares, strict=True
            ):
                axes.barh(
                    place + shift,
                    100 * share,
                    height=0.4,
                    color=colour,
                    hatch=hatch,
                    edgecolor="white",
                    label=label,
                )
            axes.set_yticks(place, [short(c) for c in columns])
            axes.set(title=f"perspective {title}", xlabel="% of retrieved prototypes")
        places[-1].legend(frameon=False, loc="lower right")
    return figure


def sweep_figure(panels: Mapping[str, Mapping[str, NDArray[np.float64]]], *, x: str) -> Figure:
    """Draws metrics over a hyper-parameter, one panel per metric (Fig. 4).

    Args:
        panels: metric -> series -> (points, 3): the parameter, mean and standard deviation.
        x: name of the parameter.
    """
    columns = min(len(panels), _ACROSS)
    with _figure(math.ceil(len(panels) / columns), columns) as (figure, places):
        for axes, (title, series) in zip(places, panels.items(), strict=False):
            styles = cycle(zip((BLUE, ORANGE, GREEN, GREY), "osD^", strict=True))
            for (name, points), (colour, marker) in zip(series.items(), styles, strict=False):
                where, mean, spread = points.T
                axes.errorbar(
                    where, mean, spread, color=colour, marker=marker, capsize=3, label=name
                )
            axes.set(title=title, xlabel=x)
            axes.set_xticks(sorted({float(v) for points in series.values() for v in points[:, 0]}))
            axes.grid(axis="y", color="#dddddd", linewidth=0.6)
            if len(series) > 1:
                axes.legend(frameon=False)
        for axes in places[len(panels) :]:
            axes.set_axis_off()
    return figure


def gain_figure(panels: Mapping[str, Mapping[str, NDArray[np.float64]]], *, x: str) -> Figure:
    """Draws gains in accuracy with their intervals, one panel a task, on one scale.

    Args:
        panels: task -> method -> (points, 4): x, gain, and both ends of its interval.
        x: name of the first column, whose values are spaced evenly.
    """
    columns = min(len(panels), _ACROSS)
    with _figure(math.ceil(len(panels) / columns), columns) as (figure, places):
        for axes, (title, methods) in zip(places, panels.items(), strict=False):
            if axes is not places[0]:
                axes.sharey(places[0])  # before it is drawn on: sharing takes the other's limits
            values = sorted({float(v) for points in methods.values() for v in points[:, 0]})
            axes.axhline(0, color=GREY, linewidth=1, linestyle="--")
            styles = zip((BLUE, ORANGE, GREEN, GREY), "osD^", strict=True)
            for place, ((name, points), (colour, marker)) in enumerate(
                zip(methods.items(), styles, strict=False)
            ):
                where = np.searchsorted(values, points[:, 0]) + 0.12 * place
                mean, low, high = 100 * points[:, 1:].T
                reach = [mean - low, high - mean]
                axes.errorbar(
                    where, mean, reach, color=colour, marker=marker, capsize=3, label=name
                )
            axes.set_xticks(range(len(values)), [f"{value:g}" for value in values])
            axes.set(title=title, xlabel=x)
        places[0].set_ylabel("gain over the plain head, points")
        places[0].legend(frameon=False)
        for axes in places[len(panels) :]:
            axes.set_axis_off()
    return figure


def to_png(figure: Figure) -> bytes:
    """Returns the drawn figure; the same figure gives the same bytes."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=_DPI, metadata={"Software": None})
    return data.getvalue()


def short(name: str, limit: int = 18) -> str:
    """Returns a taxonomy's name without its synonyms, `cut_(trim,_slice)` as "cut"."""
    plain = name.split("_(")[0].replace("_", " ")
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"


@contextmanager
def _figure(
    rows: int, columns: int, *, size: tuple[float, float] | None = None
) -> Iterator[tuple[Figure, list[Axes]]]:
    """A styled figure and its panels; laid out tightly when the block ends."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = _STYLE
    with mpl.rc_context(settings):
        figure = Figure(
            figsize=size or (_PANEL_IN * columns + 0.6, _PANEL_IN * rows), layout="constrained"
        )
        grid = figure.subplots(rows, columns, squeeze=False)
        yield figure, list(grid.flat)


def _heat(
    axes: Axes,
    shares: NDArray[np.float64],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    top: float,
) -> None:
    """A matrix of shares with each worth reading written as per cent."""
    axes.imshow(shares, cmap=_SHADES, vmin=0, vmax=max(top, 1e-9), aspect="auto")
    axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(1, len(columns)) - 0.5, minor=True)
    axes.set_yticks(np.arange(1, len(rows)) - 0.5, minor=True)
    axes.tick_params(which="minor", length=0)
    axes.grid(which="minor", color="white", linewidth=1)
    for i, j in np.argwhere(shares >= 0.005):
        dark = shares[i, j] > 0.6 * top
        axes.text(
            j,
            i,
            f"{100 * shares[i, j]:.0f}",
            ha="center",
            va="center",
            fontsize=7,
            color="white" if dark else "#222222",
        )
