"""`python -m bench NAME`: one benchmark, as a table, and as JSON with facts of the machine."""

import argparse
import importlib
import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

BENCHMARKS = {
    "decode": ("features.decode", "our readers, beside bare decoding"),
    "extract": ("features.extract", "many windows of long videos, beside a naive loop; memory"),
    "latency": ("latency", "a POST beside the same calls without a server"),
    "load": (
        "load.command",
        "many callers: beside other servers, overload, soak, beside a long job",
    ),
    "live": (
        "live.command",
        "live streams: lag, how many are held, twice as many, memory over an hour",
    ),
    "capacity": (
        "capacity.command",
        "how many machines a load needs, and a check of that on a real server",
    ),
    "faults": (
        "faults.command",
        "faults of the machine: what callers see, what recovers, that each job ends once",
    ),
    "ego4d-size": ("ego4d.size", "what a data set of Ego4D's size costs, step by step"),
    "reasoning": (
        "authors.reasoning",
        "from graphs to four tasks' logits, beside the authors' formulation",
    ),
    "training": ("authors.training", "a stage-1 epoch, beside the authors' loop"),
    "trunk": ("features.trunk", "the video trunk, beside torchvision's own"),
    "encoder": ("features.encoder", "the shipped encoder in every runtime, beside torch eager"),
    "encoders": ("features.library_encoders", "published encoders of transformers and timm"),
    "gpu": ("gpu.command", "the video trunk on a GPU, by batch size, precision and step"),
}
"""Benchmark -> module and description; only the chosen one is imported, as dependencies differ."""

DECIDING = ("EGOPACK_READER", "EGOPACK_RUNTIME", "EGOPACK_DECODE_WORKERS")
"""Environment variables needed to reproduce a figure."""

EXIT_INTERRUPTED = 130

PACKAGES = ("torch", "torchvision", "torch-geometric", "faiss-cpu", "av", "decord2", "fastapi",
            "onnx", "onnxruntime", "timm", "transformers")  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status: 1 if the figures miss their goals."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure, side by side, on this machine."
    )
    names = parser.add_subparsers(dest="name", required=True)
    for name, (_, about) in BENCHMARKS.items():
        names.add_parser(name, help=about, add_help=False)
    chosen, rest = parser.parse_known_args(argv)
    module = importlib.import_module(f"bench.{BENCHMARKS[chosen.name][0]}")
    one = argparse.ArgumentParser(prog=f"python -m bench {chosen.name}", description=module.__doc__)
    one.add_argument("--out", type=Path, help="write the figures as JSON")
    module.add_arguments(one)
    arguments = one.parse_args(rest)
    try:
        figures = module.run(arguments)
    except KeyboardInterrupt:  # before there was anything to report
        return EXIT_INTERRUPTED
    print(module.table(figures))
    if arguments.out is not None:
        report = {"name": chosen.name, "machine": machine(), "figures": figures}
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if figures.get("passed", True) else 1


def machine() -> dict[str, Any]:
    """Machine, packages and command, which make a figure reproducible."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "command": " ".join([*_settings(), "python -m bench", *sys.argv[1:]]),
    }


def _settings() -> list[str]:
    """The server settings of this run that affect speed; others may be secret."""
    return [f"{name}={os.environ[name]}" for name in DECIDING if name in os.environ]


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((s.split(":", 1)[1].strip() for s in lines if s.startswith("model name")), "")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
