"""Table of forecasts: edit distances of several ways to guess the future, with paired differences.

All ways see the same windows, so that two are compared window by window; intervals resample whole
videos.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.data.sequences import Windows
from model.evaluate.metrics import Values, anticipation_errors
from model.evaluate.report.intervals import Interval, interval
from model.forecast.baselines import PairCounts, repeat
from model.forecast.choice import choose_futures
from model.tasks import NUM_HYPOTHESES

METRICS = ("verb_ed", "noun_ed", "action_ed")

Futures = Mapping[str, Tensor]
"""Output -> (M, N, Z) label ids."""

DRAWN: Literal["independent"] = "independent"
CHOSEN: Literal["set"] = "set"


@dataclass(frozen=True, eq=False)
class ForecastRow:
    """One way to forecast, scored.

    Attributes:
        name: of the way.
        choice: "independent" draws, a "set" of draws, or "" where nothing is drawn.
        errors: metric -> (M,) per window, NaN where unlabelled.
    """

    name: str
    choice: str
    errors: dict[str, Values]


def sampled_rows(name: str, drawn: Futures, truth: Mapping[str, Tensor]) -> list[ForecastRow]:
    """Returns two rows of one way that samples: its first K draws, and K of all as a set."""
    kinds = {
        DRAWN: {output: values[:, :NUM_HYPOTHESES] for output, values in drawn.items()},
        CHOSEN: choose_futures(drawn, NUM_HYPOTHESES),
    }
    return [scored(name, futures, truth, choice=kind) for kind, futures in kinds.items()]


def scored(
    name: str, futures: Futures, truth: Mapping[str, Tensor], *, choice: str = ""
) -> ForecastRow:
    """Returns the row of finished hypotheses."""
    errors = anticipation_errors(futures, truth)
    return ForecastRow(name, choice, {metric: errors[metric] for metric in METRICS})


def baseline_rows(
    counts: PairCounts,
    past: Tensor,
    windows: Windows,
    truth: Mapping[str, Tensor],
    *,
    samples: int,
    seed: int,
    seen: str = "",
    temperatures: Mapping[str, float] | None = None,
) -> list[ForecastRow]:
    """Returns the ways that look at labels alone, with independent draws and as a set.

    Args:
        counts: of training.
        past: (A, R, 2) actions, true or recognised, for "repeat" and "bigram"; see `repeat`.
        windows: what is seen of them.
        truth: output -> (M, Z).
        samples: futures that a set is chosen from.
        seed: of the draws.
        seen: remark on the past, added to the names.
        temperatures: remark -> temperature of the bigram; None takes 1 without one.
    """
    num, steps = next(iter(truth.values())).shape
    frequent = counts.most_frequent(num, NUM_HYPOTHESES, steps)

    def bigrams(temperature: float) -> Futures:
        last = past[windows.last, 0]
        return by_output(counts.by_bigram(last, samples, steps, seed=seed, temperature=temperature))

    return [
        scored("most frequent", by_output(frequent), truth),
        *sampled_rows(
            "draws by frequency",
            by_output(counts.by_frequency(num, samples, steps, seed=seed)),
            truth,
        ),
        scored(f"repeat{seen}", by_output(repeat(past, windows, steps)), truth),
        *(
            row
            for remark, temperature in (temperatures or {"": 1.0}).items()
            for row in sampled_rows(f"bigram{seen}{remark}", bigrams(temperature), truth)
        ),
    ]


def by_output(futures: Tensor) -> dict[str, Tensor]:
    """Splits actions, (..., 2), into "verb" and "noun"."""
    verb, noun = futures.unbind(-1)
    return {"verb": verb, "noun": noun}


@dataclass(frozen=True)
class Difference:
    """Mean difference of two rows over the same windows; below 0 the first is better.

    Attributes:
        first: name and choice.
        second: name and choice.
        metric: compared.
        mean: of first minus second.
        bounds: 95 % interval by video, None below two videos.
    """

    first: str
    second: str
    metric: str
    mean: float
    bounds: Interval | None


def differences(
    rows: Sequence[ForecastRow], groups: NDArray[np.int64], *, ours: str, seed: int = 0
) -> list[Difference]:
    """Returns paired differences: set minus independent of each way, and ours minus every other.

    Args:
        rows: of one table.
        groups: (M,) videos of the windows.
        ours: name of the way that is compared with all others, by its set.
        seed: of the bootstrap.
    """
    by = {(row.name, row.choice): row for row in rows}
    pairs: list[tuple[tuple[str, str], tuple[str, str]]] = [
        ((name, CHOSEN), (name, DRAWN)) for name, choice in by if choice == CHOSEN
    ]
    best = (ours, CHOSEN)
    if best in by:
        pairs += [(best, other) for other in by if other[0] != ours and other[1] != DRAWN]
    found = []
    for one, two in pairs:
        for metric in METRICS:
            gap = by[one].errors[metric] - by[two].errors[metric]
            known = ~np.isnan(gap)
            bounds = interval(gap[known], groups[known], seed=seed)
            found.append(
                Difference(_title(one), _title(two), metric, float(gap[known].mean()), bounds)
            )
    return found


def format_rows(
    heading: str, rows: Sequence[ForecastRow], groups: NDArray[np.int64], *, seed: int = 0
) -> str:
    """Returns a Markdown table: a row a way, mean and 95 % interval of each edit distance."""
    lines = [f"| {heading} | futures | verb ↓ | noun ↓ | action ↓ |", "|---|---|---:|---:|---:|"]
    for row in rows:
        cells = [_cell(row.errors[metric], groups, seed) for metric in METRICS]
        lines.append(f"| {row.name} | {row.choice or '–'} | {' | '.join(cells)} |")
    return "\n".join(lines)


def format_differences(heading: str, found: Sequence[Difference]) -> str:
    """Returns a Markdown table of paired differences; real ones exclude 0 in bold."""
    lines = [f"| {heading} | verb | noun | action |", "|---|---:|---:|---:|"]
    by: dict[tuple[str, str], list[str]] = {}
    for one in found:
        text = f"{one.mean:+.3f}"
        if one.bounds is not None:
            text += f" [{one.bounds.low:+.3f}, {one.bounds.high:+.3f}]"
            is_real = one.bounds.low > 0 or one.bounds.high < 0
            text = f"**{text}**" if is_real else text
        by.setdefault((one.first, one.second), []).append(text)
    for (first, second), cells in by.items():
        lines.append(f"| {first} − {second} | {' | '.join(cells)} |")
    return "\n".join(lines)


def plain_rows(rows: Sequence[ForecastRow]) -> list[dict[str, Any]]:
    """Returns name, choice and mean distances of each row, in plain JSON types."""
    return [
        {"name": row.name, "choice": row.choice}
        | {metric: float(np.nanmean(row.errors[metric])) for metric in METRICS}
        for row in rows
    ]


def never_seen(futures: Futures, counts: PairCounts) -> tuple[int, int]:
    """Returns how many steps of futures are no pair of training, and how many steps there are."""
    row = counts.index(torch.stack([futures["verb"], futures["noun"]], dim=-1))
    return int((row < 0).sum()), row.numel()


def _cell(values: Values, groups: NDArray[np.int64], seed: int) -> str:
    known = ~np.isnan(values)
    text = f"{values[known].mean():.3f}"
    bounds = interval(values[known], groups[known], seed=seed)
    return text if bounds is None else f"{text} ± {(bounds.high - bounds.low) / 2:.3f}"


def _title(key: tuple[str, str]) -> str:
    return f"{key[0]} ({key[1]})" if key[1] else key[0]
