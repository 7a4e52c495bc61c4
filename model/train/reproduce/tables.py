"""Tables of a reproduction: means and standard deviations over seeds, by method."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from model.data.task_samples import Enumeration
from model.evaluate.paper import METRICS, PAPER, SUBSETS, WINDOWS, aggregate, comparable
from model.evaluate.report.confusion import Row
from model.train.methods.trainer import LABELS, Training, parts_of
from model.train.reproduce.jobs import Score

Figures = dict[tuple[str, str], list[float]]
"""(task, metric) -> one value per seed."""

_EMPTY = (None,) * len(METRICS)


@dataclass(frozen=True)
class Cell:
    """One entry; `is_best` marks the best mean of its column."""

    text: str
    is_best: bool = False


@dataclass(frozen=True)
class Table:
    """A formatted table; the first column, and its heading, names the rows."""

    title: str
    columns: list[str]
    lines: list[list[Cell]]

    def to_markdown(self) -> str:
        """Returns the table as Markdown under its title."""
        rows = [" | ".join(f"**{c.text}**" if c.is_best else c.text for c in r) for r in self.lines]
        head = [" | ".join(self.columns), "---|" + "---:|" * (len(self.columns) - 1)]
        return "\n".join([f"### {self.title}\n", f"| {head[0]} |", f"|{head[1]}"]
                         + [f"| {row} |" for row in rows])  # fmt: skip


def figures_of(scores: Sequence[Score], parts: Sequence[Training], split: str) -> Figures:
    """Returns the metrics of some parts together, one value per seed."""
    values: Figures = {}
    for score in scores:
        if score.part not in parts:
            continue
        for task, metrics in score.metrics.get(split, {}).items():
            for column in METRICS:
                if column[0] == task:
                    values.setdefault(column, []).append(metrics[column[1]])
    return values


def method_table(
    scores: Sequence[Score],
    methods: Sequence[str],
    tasks: tuple[str, ...],
    split: str,
    *,
    with_paper: bool,
    lta_windows: Enumeration = WINDOWS,
) -> Table:
    """Returns Tables 1, 4 and 6: one row a method."""
    rows = {LABELS[m]: figures_of(scores, parts_of(m, tasks), split) for m in methods}
    paper = {LABELS[m]: comparable(figures, lta_windows) for m, figures in PAPER.items()}
    return _table(f"Methods, {split}", rows, paper if with_paper else {})


def subset_table(
    scores: Sequence[Score], split: str, *, with_paper: bool, lta_windows: Enumeration = WINDOWS
) -> Table:
    """Returns Table 7: multi-task models of two and three tasks."""
    names = {tasks: " + ".join(t.upper() for t in tasks) for tasks in SUBSETS}
    rows = {names[t]: figures_of(scores, [Training("mtl", t)], split) for t in SUBSETS}
    paper = {names[t]: comparable(figures, lta_windows) for t, figures in SUBSETS.items()}
    return _table(f"MTL of some tasks, {split}", rows, paper if with_paper else {})


def aggregate_table(scores: Sequence[Score], methods: Sequence[str], split: str) -> Table:
    """Returns Table 2: each method's average over all metrics and its gain over the first."""
    found = {}
    for method in methods:
        values = figures_of(scores, parts_of(method), split)
        seeds = {len(figures) for figures in values.values()}
        if len(values) == len(METRICS) and len(seeds) == 1:
            per_seed = zip(*values.values(), strict=True)
            found[method] = [aggregate(dict(zip(values, one, strict=True))) for one in per_seed]
    best = max((mean(v) for v in found.values()), default=0.0)
    base = mean(next(iter(found.values()), [1.0]))
    lines = [
        [
            Cell(LABELS[method]),
            Cell(_spread(values), mean(values) == best),
            Cell(f"{100 * (mean(values) / base - 1):+.2f} %"),
        ]
        for method, values in found.items()
    ]
    return Table(
        f"Average of the metrics, {split}", ["method", "average ↑", "over the first"], lines
    )


def sweep_rows(scores: Sequence[Score], parameter: str, default: int, split: str) -> list[Row]:
    """Returns Fig. 4's figures: EgoPack's metrics over k or depth, mean and deviation.

    Args:
        scores: of EgoPack, its ablations and MTL + FT.
        parameter: "num_neighbours" (where MTL + FT is k = 0) or "interaction_layers".
        default: the value that EgoPack has without a change.
        split: whose figures.
    """
    name = "k" if parameter == "num_neighbours" else "depth"
    by_value: dict[int, Figures] = {}
    for score in scores:
        value = dict(score.part.change).get(parameter)
        if score.part.kind == "egopack" and not score.part.change:
            value = default
        elif score.part.kind == "mtl-ft" and name == "k":
            value = 0
        if not isinstance(value, int):
            continue
        for column, found in figures_of([score], [score.part], split).items():
            by_value.setdefault(value, {}).setdefault(column, []).extend(found)
    return [
        {"task": task, "metric": metric, name: value, "value": mean(v), "std": _deviation(v)}
        for value, figures in sorted(by_value.items())
        for (task, metric), v in figures.items()
    ]


def score_rows(scores: Sequence[Score]) -> list[Row]:
    """Returns every figure: method, change, tasks, seed, split, task, metric, value."""
    return [
        {
            "method": score.part.kind,
            "change": " ".join(f"{field}={value}" for field, value in score.part.change),
            "trained_on": "+".join(score.part.tasks),
            "seed": score.seed,
            "split": split,
            "task": task,
            "metric": metric,
            "value": float(f"{value:.6g}"),
        }
        for score in scores
        for split, tasks in score.metrics.items()
        for task, metrics in tasks.items()
        for metric, value in metrics.items()
    ]


def _table(
    title: str, rows: dict[str, Figures], paper: dict[str, tuple[float | None, ...]]
) -> Table:
    rows = {label: values for label, values in rows.items() if values}
    best = {column: _best(column, list(rows.values())) for column in METRICS}
    lines = []
    for label, values in rows.items():
        published = zip(METRICS, paper.get(label, _EMPTY), strict=True)
        cells = [_cell(values.get(column), best[column], figure) for column, figure in published]
        lines.append([Cell(label), *cells])
    return Table(title, ["method", *METRICS.values()], lines)


def _deviation(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def _spread(values: Sequence[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.3f}"
    return f"{mean(values):.3f} ± {stdev(values):.3f}"


def _best(column: tuple[str, str], rows: Sequence[Figures]) -> float:
    means = [mean(values[column]) for values in rows if values.get(column)]
    if not means:
        return float("nan")
    return max(means) if METRICS[column].endswith("↑") else min(means)


def _cell(values: list[float] | None, best: float, paper: float | None) -> Cell:
    if not values:
        return Cell("–")
    text = _spread(values) if paper is None else f"{_spread(values)} (paper {paper:g})"
    return Cell(text, mean(values) == best)
