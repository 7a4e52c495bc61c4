"""Figures -> Markdown tables."""

from model.scoring import Metrics

LOWER_IS_BETTER = ("error_s", "_ed", "_aued", "ece")


def format_table(split: str, result: dict[str, Metrics]) -> str:
    """Returns the figures of one split as a Markdown table."""
    columns = list(result)
    lines = [f"| {split} | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]
    for task, metrics in result["model"].items():
        for metric in metrics:
            if metric == "samples":
                continue
            values = [result[column].get(task, {}).get(metric) for column in columns]
            cells = ["" if v is None else f"{v:.3f}" for v in values]
            arrow = "↓" if metric.endswith(LOWER_IS_BETTER) else "↑"
            lines.append(f"| {task} {metric} {arrow} | {' | '.join(cells)} |")
    return "\n".join(lines)
