"""Measured costs of a clip, from the JSON files of `python -m bench`."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bench.capacity.rates import Encoder, Figure

RESULTS = Path(__file__).parents[1] / "results"

SIZES = {"1080p": (1920, 1080), "540p": (960, 540)}
"""Of the clips in `python -m bench decode`."""
FPS = 30

Found = dict[str, float]


def read(paths: Sequence[Path], encoder: Encoder) -> dict[str, Figure]:
    """Returns all figures of reports of any benchmark; later files override earlier ones.

    Raises:
        ValueError: a file is no such report.
    """
    figures: dict[str, Figure] = {}
    for path in paths:
        try:
            report = json.loads(path.read_text())
            name, found = report["name"], report["figures"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path}: expected a report of `python -m bench NAME --out FILE`, got {error!r}"
            ) from error
        values = READERS[name](found, encoder) if name in READERS else {}
        figures |= {key: Figure(value, path.name) for key, value in values.items()}
    return figures


def shipped() -> list[Path]:
    """Returns the reports that come with the code, in the order in which they count."""
    return sorted(
        RESULTS.rglob("*.json"), key=lambda path: (path.name.startswith("capacity"), path)
    )


def frame_costs(points: Sequence[tuple[float, float]]) -> Found:
    """Returns what a picture costs, and what its pixels do, from the smallest and the largest.

    A point is (megapixels of a picture, milliseconds of one core to decode it).
    """
    (small, small_ms), (large, large_ms) = min(points), max(points)
    if small == large:
        return {"frame_ms": 0.0, "megapixel_ms": large_ms / large}
    slope = max(0.0, (large_ms - small_ms) / (large - small))
    return {"frame_ms": max(0.0, small_ms - slope * small), "megapixel_ms": slope}


def _latency(figures: dict[str, Any], encoder: Encoder) -> Found:
    stages = figures["stages_mean_ms"]
    found = {"front_ms": stages["receive and reply"]}
    if encoder.name in figures["bundle"]:
        found["reason_ms"] = stages["reason"]
    return found


def _decode(figures: dict[str, Any], encoder: Encoder) -> Found:
    """Two sizes of picture give what a picture costs and what its pixels do."""
    frames = figures["seconds"] * FPS
    points = []
    for size, row in figures["rows"].items():
        width, height = SIZES[size]
        each_ms = row["times"][encoder.reader]["cpu_ms"] / frames
        points.append((width * height / 1e6, each_ms))
    return frame_costs(points)


def _encoder(figures: dict[str, Any], encoder: Encoder) -> Found:
    if figures["encoder"] != encoder.name:
        return {}
    batches = [
        (int(name.rsplit(" ", 1)[1]), row["times"][row["chosen"]]["cpu_ms"])
        for name, row in figures["rows"].items()
        if name.startswith("1 thread")
    ]
    windows, cpu_ms = max(batches)
    return {"windows_per_core_s": 1000 * windows / cpu_ms}


def _trunk(figures: dict[str, Any], encoder: Encoder) -> Found:
    row = figures["rows"].get("Swin-L, one window")
    if row is None or encoder.name != "omnivore-swinl":
        return {}
    return {"windows_per_core_s": 1000 / row["times"]["ours"]["cpu_ms"]}


def _reasoning(figures: dict[str, Any], encoder: Encoder) -> Found:
    """At the width of the published features; the shipped bundle is measured in a server."""
    sizes = figures["sizes"]
    if encoder.name != "omnivore-swinl" or sizes["hidden"] != 1024:
        return {}
    batch_ms = figures["rows"]["reasoning"]["times"]["ours"]["cpu_ms"]
    return {"reason_ms": batch_ms / sizes["graphs_per_task"]}


def _load(figures: dict[str, Any], encoder: Encoder) -> Found:
    """The peak memory of a server at its limits."""
    moved = figures.get("load", {}).get("server")
    if figures["mode"] != "overload" or moved is None:
        return {}
    server_mb = moved["server_rss_mb"]["most"]
    decoders = moved["processes"]["most"] - 1
    return {
        "server_mb": server_mb,
        "decoder_mb": (moved["rss_mb"]["most"] - server_mb) / max(1, decoders),
    }


def _gpu(figures: dict[str, Any], encoder: Encoder) -> Found:
    best = figures["best_bf16_windows_per_s"]
    is_ours = encoder.name == "omnivore-swinl" and isinstance(best, int | float)
    return {"windows_per_gpu_s": float(best)} if is_ours else {}


def _capacity(figures: dict[str, Any], encoder: Encoder) -> Found:
    """What a check measured in a server, which is all of it in one run."""
    found = figures.get("rates", {})
    return dict(found) if figures.get("encoder") == encoder.name else {}


READERS: dict[str, Callable[[dict[str, Any], Encoder], Found]] = {
    "latency": _latency,
    "decode": _decode,
    "encoder": _encoder,
    "trunk": _trunk,
    "reasoning": _reasoning,
    "load": _load,
    "gpu": _gpu,
    "capacity": _capacity,
}
