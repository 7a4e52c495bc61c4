"""Comparison of predictions and measurements: simulation, closed form, and a real server."""

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.capacity.check.probe import Alone
from bench.capacity.measured import FPS, frame_costs
from bench.capacity.queues import allen_cunneen, sojourn_quantile_s
from bench.capacity.simulation.loads import Met, capacity_per_s, closed_load, open_load, poisson
from bench.capacity.simulation.stages import Box, Stages
from bench.load import clips as made
from bench.load.answers import REFUSALS, Answer, percentile
from bench.load.checks import Check, lines

TOLERANCE = 0.20
SEEDS = 10
"""Simulations of a load, each with other draws of the stage times; their medians count."""
CALLS = 3000
"""Of a simulation that is compared with the closed form."""

QUANTITIES = {"per_s": "answers/s", "p50_ms": "p50", "p99_ms": "p99"}


@dataclass(frozen=True)
class Load:
    """A load and the answers of its callers.

    Attributes:
        name: of the load.
        answers: of all calls.
        rate: mean calls a second, of an open loop; else 0.
        callers: of a closed loop.
        duration_s: how long those went on.
    """

    name: str
    answers: Sequence[Answer]
    rate: float = 0.0
    callers: int = 0
    duration_s: float = 0.0

    @property
    def accepted(self) -> list[Answer]:
        """Those with an answer."""
        return [one for one in self.answers if one.status == 200]

    @property
    def per_s(self) -> float:
        """Answers a second."""
        return len(self.accepted) / max(one.sent_s + one.took_s for one in self.answers)

    @property
    def arrivals(self) -> list[tuple[float, str]]:
        """When each call was sent, and with which clip."""
        return sorted((one.sent_s, one.clip) for one in self.answers)


def predicted(load: Load, stages: Stages, box: Box, alone: Mapping[str, Alone]) -> dict[str, Any]:
    """Returns measured and predicted figures of a load, side by side.

    The simulation sees the instants and the kinds of the calls, as the server did, and nothing of
    how long any of them took.
    """
    took_s = sorted(one.took_s for one in load.accepted)
    met = {
        "per_s": load.per_s,
        "p50_ms": 1000 * percentile(took_s, 0.50),
        "p99_ms": 1000 * percentile(took_s, 0.99),
        "refused": sum(one.status in REFUSALS for one in load.answers),
    }
    simulated = _median([_simulate(load, stages, box, seed) for seed in range(SEEDS)])
    row = {
        "load": load.name,
        "rate": load.rate or None,
        "calls": len(load.answers),
        "met": _rounded(met),
        "simulated": _rounded(simulated),
        "error": {name: round(simulated[name] / met[name] - 1, 3) for name in QUANTITIES},
    }
    if load.rate:
        shares = Counter(kind for _, kind in load.arrivals)
        whole = shares.total()
        mix = {kind: count / whole for kind, count in shares.items()}
        row["closed_form"] = _rounded(_formula(load.rate, mix, stages, box, alone))
    return row


def checks_of(rows: Sequence[dict[str, Any]]) -> list[Check]:
    """Returns the checks: every load's rate, median and 99th percentile."""
    return [
        Check(
            f"{row['load']}: {words}",
            f"within {TOLERANCE:.0%}",
            f"{row['error'][name]:+.1%}",
            abs(row["error"][name]) <= TOLERANCE,
        )
        for row in rows
        for name, words in QUANTITIES.items()
    ]


def closed_form_beside_simulation(
    stages: Stages, box: Box, alone: Mapping[str, Alone], shares: Sequence[float]
) -> list[dict[str, Any]]:
    """Returns the formula's percentiles beside those of long simulations, at shares of capacity.

    Callers are elsewhere, their own work left out; `alone` has calls that meet no other.
    """
    clips = {name: replace(cost, caller_s=0.0) for name, cost in stages.clips.items()}
    stages = replace(stages, clips=clips)
    weights = {name: made.GOOD[name][3] for name in clips}
    mix = {name: weight / sum(weights.values()) for name, weight in weights.items()}
    capacity = capacity_per_s(stages, box, mix)
    rows = []
    for share in shares:
        rate = share * capacity
        met = open_load(stages, box, poisson(rate, CALLS, mix, seed=1), seed=1)
        formula = _formula(rate, mix, stages, box, alone)
        rows.append(
            {
                "share": share,
                "rate": round(rate, 3),
                "simulated": _rounded(_figures(met)),
                "closed_form": _rounded(formula),
            }
        )
    return rows


def rates_of(stages: Stages, sizes: Mapping[str, tuple[int, int, int, float]]) -> dict[str, float]:
    """Returns the stage times in the format of `--measured`.

    Sizes are those of each kind: seconds, width, height, weight.
    """
    points = [
        (width * height / 1e6, 1000 * stages.clips[name].mean_decode_s / (seconds * FPS))
        for name, (seconds, width, height, _) in sizes.items()
    ]
    first = stages.clips[next(iter(sizes))]
    return {
        **frame_costs(points),
        "windows_per_core_s": first.windows / stages.features.of(first.windows),
        "reason_ms": 1000 * stages.reason.of(1),
        "front_ms": 1000 * (first.receive_s + first.reply_s),
    }


def lines_of(figures: dict[str, Any]) -> list[str]:
    """Returns a check's figures as text."""
    text = [
        f"others keep {figures['others_busy_cores']:g} cores busy; calls alone took "
        f"{figures['drift']:+.1%} after the loads",
        "",
        "alone, mean ms:",
    ]
    for name, stages in figures["stages"]["alone_mean_ms"].items():
        text.append(f"  {name:<16}" + ", ".join(f"{stage} {ms:g}" for stage, ms in stages.items()))
    text += ["", f"{'':<26}{'met / simulated / closed form':>44}"]
    for row in figures["loads"]:
        text.append(f"{row['load']}, {row['calls']} calls, {row['met']['refused']:g} refused")
        for name, words in QUANTITIES.items():
            found = [
                row[way].get(name) for way in ("met", "simulated", "closed_form") if way in row
            ]
            cells = " / ".join("-" if value is None else f"{value:g}" for value in found)
            text.append(f"  {words:<24}{cells:>44}   {row['error'][name]:+.1%}")
    text += ["", "closed form beside long simulations:"]
    for row in figures["closed_form"]:
        cells = ", ".join(
            f"{words} {row['closed_form'][name] or math.inf:g} / {row['simulated'][name]:g} ms"
            for name, words in QUANTITIES.items()
            if name != "per_s"
        )
        text.append(f"  {row['share']:.0%} of capacity: {cells}")
    return [*text, "", *lines(figures)]


def _simulate(load: Load, stages: Stages, box: Box, seed: int) -> dict[str, float]:
    if load.rate:
        return _figures(open_load(stages, box, load.arrivals, seed=seed))
    met = closed_load(
        stages,
        box,
        itertools.cycle(kind for _, kind in load.arrivals),
        callers=load.callers,
        duration_s=load.duration_s,
        seed=seed,
    )
    return _figures(met)


def _figures(met: Met) -> dict[str, float]:
    return {
        "per_s": met.per_s,
        "p50_ms": 1000 * met.quantile_s(0.50),
        "p99_ms": 1000 * met.quantile_s(0.99),
        "refused": met.refused,
    }


def _formula(
    rate: float, mix: Mapping[str, float], stages: Stages, box: Box, alone: Mapping[str, Alone]
) -> dict[str, float]:
    """M/G/c of all work on the cores, then a call's time alone.

    Work is as much longer as cores are slower with company, for the share of time they have it.
    """
    mean_s = sum(share * stages.work_s(kind) for kind, share in mix.items())
    busy = min(1.0, rate * mean_s / box.cores)
    slower = 1 + (stages.slowdown - 1) * busy
    wait = allen_cunneen(box.cores, rate, mean_s * slower, service_scv=stages.work_scv(mix))
    services_s = [statistics.fmean(alone[kind].post_s) * slower for kind in mix]
    quantiles = [
        sojourn_quantile_s([wait], services_s, list(mix.values()), share) for share in (0.50, 0.99)
    ]
    return {"p50_ms": 1000 * quantiles[0], "p99_ms": 1000 * quantiles[1]}


def _median(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def _rounded(figures: Mapping[str, float]) -> dict[str, float | None]:
    """Rounds; infinity becomes None, as JSON has none."""
    return {
        name: round(value, 3 if name == "per_s" else 1) if math.isfinite(value) else None
        for name, value in figures.items()
    }
