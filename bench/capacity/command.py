"""Capacity planner: machines and price for a load; `check` validates the model on a real server.

Speeds default to those measured on a CPU; a GPU's must be given.
"""

import argparse
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from bench.capacity import measured, report
from bench.capacity.check import command as check
from bench.capacity.demand import STANDARD, Clip, Demand, Terms, parse_clip, parse_live
from bench.capacity.rates import ENCODERS, NOT_MEASURED, QUANTITIES, Figure, Rates
from bench.capacity.sizing import Unreachable, largest_for_one_box, plan_boxes, plan_gpus

STREAMS = (1, 10, 100, 1000, 10_000)

GIVEN = {
    "windows_per_second": ("windows_per_gpu_s", "of one GPU (default: no plan with GPUs)"),
    "windows_per_core_second": ("windows_per_core_s", "of one core"),
    "reason_ms": ("reason_ms", "of one core, to reason about a clip"),
    "front_ms": ("front_ms", "of one core, to receive a clip and to reply"),
    "server_mb": ("server_mb", "memory of a serving process"),
    "decoder_mb": ("decoder_mb", "memory of a decoding process"),
}
"""Flag -> the quantity that it replaces, and its help."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of the plan, and the check with its own."""
    load = parser.add_argument_group("load")
    load.add_argument("--streams", type=float, nargs="+", help="live streams; default: a table")
    load.add_argument("--rate", type=float, nargs="+", help="clips a second, instead of streams")
    load.add_argument(
        "--clip",
        type=_clip,
        action="append",
        metavar="SECONDS:WIDTHxHEIGHT[@FPS][=SHARE]",
        help="repeatable, for a mix (default: 8:960x540@30)",
    )
    load.add_argument(
        "--live",
        type=_live,
        metavar="WIDTHxHEIGHT[@FPS]",
        help="streams of /v1/live, instead of clips: each window is answered as it comes, and the "
        "target is their lag",
    )
    load.add_argument("--job-share", type=_share, default=0.0, help="of the clips (default: 0)")
    load.add_argument("--mbit-per-s", type=_positive, default=4.0, help="of the video (default: 4)")
    speed = parser.add_argument_group("what was measured")
    speed.add_argument("--encoder", choices=sorted(ENCODERS), default="tabletop")
    speed.add_argument("--measured", type=Path, nargs="+", help="default: the reports shipped")
    speed.add_argument(
        "--decode-frames-per-second", type=_positive, help="of one core, of the first clip's kind"
    )
    for flag, (_, help_) in GIVEN.items():
        speed.add_argument(f"--{flag.replace('_', '-')}", type=_positive, help=help_)
    terms = parser.add_argument_group("terms; prices and limits are assumptions, to be replaced")
    for one in fields(Terms):
        kind = str if one.name == "currency" else int if isinstance(one.default, int) else _positive
        terms.add_argument(
            f"--{one.name.replace('_', '-')}", type=kind, default=one.default,
            help="default: %(default)s",
        )  # fmt: skip
    parser.add_argument("--plot", type=Path, help="draw cores and price over streams, as SVG")
    modes = parser.add_subparsers(dest="mode", metavar="check")
    checking = modes.add_parser("check", help=(check.__doc__ or "").splitlines()[0])
    checking.add_argument("--out", type=Path, default=argparse.SUPPRESS, help="figures as JSON")
    check.add_arguments(checking)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Plans, or checks, and returns the figures.

    Raises:
        SystemExit: the arguments do not go together, or name no reachable target.
    """
    if arguments.mode == "check":
        return {"mode": "check", **check.run(arguments)}
    try:
        return {"mode": "plan", **_plan(arguments)}
    except (Unreachable, ValueError) as error:
        raise SystemExit(f"python -m bench capacity: {error}") from error


def table(figures: dict[str, Any]) -> str:
    """Returns the figures as text."""
    if figures["mode"] == "check":
        return check.table(figures)
    currency = figures["inputs"]["terms"]["currency"]
    one = figures["one_box"]
    lines = [
        *report.input_lines(figures["inputs"]),
        "",
        f"One machine of {figures['inputs']['terms']['box_cores']} cores answers "
        f"{one['streams']:g} streams ({one['clips_per_s']:g} clips/s) with a p99 of "
        f"{one['p99_s']:g} s. Full first, at streams: "
        + ", ".join(f"{r['name']} {r['full_at_streams']:g}" for r in one["resources"]),
        "",
        *report.load_lines("CPU alone", figures["boxes"], currency),
        "",
        *report.load_lines("Encoder on GPUs", figures["gpus"], currency),
    ]
    return "\n".join(lines)


def _plan(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.live is not None and (arguments.clip or arguments.rate):
        raise ValueError("--live takes --streams, and neither --clip nor --rate")
    clips = (arguments.live,) if arguments.live else tuple(arguments.clip or [STANDARD])
    rates = _rates(arguments)
    terms = Terms(**{one.name: getattr(arguments, one.name) for one in fields(Terms)})
    rest: dict[str, Any] = {"job_share": arguments.job_share, "mbit_per_s": arguments.mbit_per_s}
    rest["is_live"] = arguments.live is not None
    if arguments.rate:
        loads = [Demand(clips, rate=rate, **rest) for rate in arguments.rate]
    else:
        loads = [Demand.of_streams(n, clips, **rest) for n in arguments.streams or STREAMS]
    boxes = [plan_boxes(load, rates, terms) for load in loads]
    one_box = largest_for_one_box(loads[0], rates, terms)
    gpus = [plan_gpus(load, rates, terms) for load in loads] if rates.has_gpu else []
    if arguments.plot is not None:
        from bench.capacity.plot import draw_plans  # matplotlib takes a second

        draw_plans(arguments.plot, boxes, gpus, terms.currency)
    return {
        "clips": [str(clip) for clip in clips],
        "inputs": report.inputs(rates, terms),
        "one_box": report.as_figures(plan_boxes(one_box, rates, terms)),
        "boxes": [report.as_figures(plan) for plan in boxes],
        "gpus": [report.as_figures(plan) for plan in gpus] or NOT_MEASURED,
    }


def _rates(arguments: argparse.Namespace) -> Rates:
    encoder = ENCODERS[arguments.encoder]
    figures = measured.read(arguments.measured or measured.shipped(), encoder)
    for flag, (name, _) in GIVEN.items():
        if (value := getattr(arguments, flag)) is not None:
            figures[name] = Figure(value, "given")
    if (pace := arguments.decode_frames_per_second) is not None:
        first = (arguments.clip or [STANDARD])[0]
        figures["frame_ms"] = Figure(0.0, "given")
        figures["megapixel_ms"] = Figure(1000 / pace / first.megapixels, "given")
    rates = Rates(figures, encoder)
    for name in set(QUANTITIES) - {"windows_per_gpu_s"}:
        rates[name]  # raises with the missing flag
    return rates


def _clip(text: str) -> Any:
    return _parsed(parse_clip, text)


def _live(text: str) -> Any:
    return _parsed(parse_live, text)


def _parsed(parse: Callable[[str], Clip], text: str) -> Clip:
    try:
        return parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"expected more than 0, got {text}")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected 0 to 1, got {text}")
    return value
