"""Markdown tables of figures, and the format of a figure."""

from collections.abc import Mapping

from model.evaluate.scoring import Metrics

LOWER_IS_BETTER = ("error_s", "_ed", "_aued", "ece")

Intervals = Mapping[str, Mapping[str, tuple[float, float] | None]]
"""Task -> metric -> interval or None."""


def format_table(
    split: str, result: Mapping[str, Metrics], intervals: Intervals | None = None
) -> str:
    """Returns the figures of one split as a Markdown table.

    Args:
        split: heading of the first column.
        result: column -> figures; the column "model" defines the rows.
        intervals: of the model's figures.
    """
    columns = list(result)
    lines = [f"| {split} | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]
    for task, metrics in result["model"].items():
        for metric in metrics:
            if metric == "samples":
                continue
            values = {column: result[column].get(task, {}).get(metric) for column in columns}
            cells = {column: "" if v is None else f"{v:.3f}" for column, v in values.items()}
            bounds = (intervals or {}).get(task, {}).get(metric)
            if bounds:
                cells["model"] += f" [{bounds[0]:.3f}, {bounds[1]:.3f}]"
            lines.append(f"| {task} {metric} {arrow(metric)} | {' | '.join(cells.values())} |")
    return "\n".join(lines)


def arrow(metric: str) -> str:
    """Returns the direction in which a metric improves."""
    return "↓" if metric.endswith(LOWER_IS_BETTER) else "↑"


def format_value(metric: str, value: float) -> str:
    """Returns a figure with its unit: accuracies in per cent, distances plain, seconds."""
    if metric.endswith("_s"):
        return f"{value:.3f} s"
    if metric.endswith(LOWER_IS_BETTER):
        return f"{value:.3f}"
    return f"{100 * value:.1f} %"
