"""Summary and text report of `bench.gpu`."""

from typing import Any

from bench.gpu_timing import NOT_MEASURED

GOALS = {"share_of_peak": 0.5, "times_plain": 20.0}


def summarise(figures: dict[str, Any]) -> None:
    """Adds the share of peak and the speed-up over torchvision, if measured."""
    parts = figures["parts"]
    peaks = {k.split()[0]: v for k, v in parts["peak, TFLOP/s"].items()}
    rates = {k: v for k, v in parts["windows/s"].items() if k.startswith("bf16")}
    gained = {k: v for k, v in parts["steps, windows/s"].items() if isinstance(v, float)}
    bf16 = [v for v in [*rates.values(), *list(gained.values())[3:]] if isinstance(v, float)]
    figures["best_bf16_windows_per_s"] = best = max(bf16, default=NOT_MEASURED)
    both = isinstance(best, float) and isinstance(peaks.get("bf16"), float)
    figures["share_of_peak"] = (
        round(best * figures["gflop_per_window"] / 1000 / peaks["bf16"], 3)
        if both else NOT_MEASURED
    )  # fmt: skip
    plain = gained.get("torchvision, fp32, batch 1")
    figures["times_plain"] = (
        round(best / plain, 2) if plain and isinstance(best, float) else NOT_MEASURED
    )


def table(figures: dict[str, Any]) -> str:
    """Returns the figures as text."""
    lines = [f"{figures['trunk']} on {figures['device']}, torch {figures['torch']}, "
             f"{figures['gflop_per_window']} GFLOP a window"]  # fmt: skip
    for part, rows in figures["parts"].items():
        lines.append(part)
        for name, value in rows.items():
            if isinstance(value, dict):
                lines.append(f"  {name}")
                lines += [f"    {stage:<34}{ms:>12}" for stage, ms in value.items()]
            else:
                lines.append(f"  {name:<36}{value:>12}")
    goals = figures["goals"]
    return "\n".join([
        *lines,
        f"share of the bf16 peak: {figures['share_of_peak']} (goal >= {goals['share_of_peak']})",
        f"times the plain way: {figures['times_plain']} (goal >= {goals['times_plain']:.0f})",
    ])  # fmt: skip
