"""`python -m bench NAME`: one benchmark, as a table, and as JSON with facts of the machine."""

import argparse
import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench import ego4d_size, latency, reasoning, training, trunk
from bench.load import command as load

BENCHMARKS = {
    "latency": latency,
    "load": load,
    "ego4d-size": ego4d_size,
    "reasoning": reasoning,
    "training": training,
    "trunk": trunk,
}

EXIT_INTERRUPTED = 130

PACKAGES = ("torch", "torchvision", "torch-geometric", "faiss-cpu", "av", "decord2", "fastapi")


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status: 1 when the figures miss what they have to show.

    Args:
        argv: arguments; default: the command line's.
    """
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure, side by side, on this machine."
    )
    names = parser.add_subparsers(dest="name", required=True)
    for name, module in BENCHMARKS.items():
        about = (module.__doc__ or "").splitlines()[0]
        one = names.add_parser(name, help=about, description=module.__doc__)
        one.add_argument("--out", type=Path, help="write the figures as JSON")
        module.add_arguments(one)
    arguments = parser.parse_args(argv)
    module = BENCHMARKS[arguments.name]
    try:
        figures = module.run(arguments)
    except KeyboardInterrupt:  # before there was anything to report
        return EXIT_INTERRUPTED
    print(module.table(figures))
    if arguments.out is not None:
        report = {"name": arguments.name, "machine": machine(), "figures": figures}
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if figures.get("passed", True) else 1


def machine() -> dict[str, Any]:
    """Facts a figure is worthless without."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "command": "python -m bench " + " ".join(sys.argv[1:]),
    }


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
