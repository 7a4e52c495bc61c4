"""Text report of plans: loads, bottlenecks, and the source of every number."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bench.capacity.demand import Terms
from bench.capacity.rates import NOT_MEASURED, QUANTITIES, Rates
from bench.capacity.sizing import Plan


def as_figures(plan: Plan) -> dict[str, Any]:
    """Returns a plan as plain values."""
    return {
        "streams": _three(plan.demand.streams),
        "clips_per_s": _three(plan.demand.rate),
        "boxes": plan.boxes,
        "gpus": plan.gpus,
        "cores": plan.cores,
        "front_ends": plan.front_ends,
        "ram_gb": _three(plan.ram_gb),
        "in_gbit_s": _three(plan.in_gbit_s),
        "windows_gbit_s": _three(plan.windows_gbit_s),
        "database_writes_per_s": _three(plan.writes_per_s),
        "p99_s": _three(plan.p99_s),
        "per_hour": _three(plan.per_hour),
        "per_1000_hours": _three(plan.per_1000_hours),
        "holds": plan.holds,
        "bottleneck": plan.bottleneck.name,
        "full_at_streams": _three(plan.streams_at(plan.bottleneck)),
        "next": plan.next_bottleneck.name,
        "next_at_streams": _three(plan.streams_at(plan.next_bottleneck)),
        "resources": [
            {**asdict(one), "full_at_streams": _three(plan.streams_at(one))}
            for one in plan.resources
        ],
    }


def inputs(rates: Rates, terms: Terms) -> dict[str, Any]:
    """Returns the inputs of the plans, with their sources."""
    known = {
        name: {"value": _three(found.value), "source": found.source}
        for name, found in rates.figures.items()
    }
    missing = {name: {"value": NOT_MEASURED} for name in QUANTITIES if name not in known}
    return {"encoder": rates.encoder.name, "rates": {**known, **missing}, "terms": asdict(terms)}


def input_lines(figures: dict[str, Any]) -> list[str]:
    """Returns the inputs as text."""
    lines = [f"{figures['encoder']}:"]
    for name, what in QUANTITIES.items():
        found = figures["rates"][name]
        source = f"  ({found['source']})" if "source" in found else ""
        lines.append(f"  {what:<58}{_shown(found['value']):>12}{source}")
    return lines


def load_lines(title: str, rows: Sequence[dict[str, Any]] | str, currency: str) -> list[str]:
    """Returns the plans of several loads, one per line, or the reason why there are none."""
    if isinstance(rows, str):
        return [f"{title}: {rows}"]
    lines = [
        title,
        f"{'streams':>9}{'clips/s':>9}{'GPUs':>6}{'cores':>8}{'fronts':>8}{'RAM GB':>9}"
        f"{'in Gbit/s':>11}{'writes/s':>10}{'p99 s':>8}{f'{currency}/1000 h':>13}"
        "  full first (at streams), then",
    ]
    for row in rows:
        first = f"{row['bottleneck']} ({_shown(row['full_at_streams'])})"
        then = f"{row['next']} ({_shown(row['next_at_streams'])})"
        lines.append(
            f"{_shown(row['streams']):>9}{_shown(row['clips_per_s']):>9}{row['gpus'] or '-':>6}"
            f"{row['cores']:>8}{row['front_ends']:>8}{_shown(row['ram_gb']):>9}"
            f"{_shown(row['in_gbit_s']):>11}{_shown(row['database_writes_per_s']):>10}"
            f"{_shown(row['p99_s']):>8}{_shown(row['per_1000_hours']):>13}  {first}, {then}"
            + ("" if row["holds"] else "  TOO SMALL")
        )
    return lines


def _three(value: float) -> float:
    """Rounds to three significant digits."""
    if value == 0 or not math.isfinite(value):
        return value
    return float(f"{value:.3g}")


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 1000 else f"{value:.3g}"
