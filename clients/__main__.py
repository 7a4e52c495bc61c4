"""`python -m clients`: ask a server about a clip, or show what it can do.

Exit status: 0 answered, 1 the server failed or cannot be reached, 2 wrong usage, 3 the request
was refused, 4 the server is busy.
"""

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path

from clients.client import EgoPackClient
from clients.errors import Busy, ClientError, Rejected
from clients.local import LocalServer, check_stopped
from clients.report import Truth, describe

SAMPLE = Path(__file__).parent / "sample"
EXIT_FAILED, EXIT_USAGE, EXIT_REJECTED, EXIT_BUSY = 1, 2, 3, 4


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status.

    Args:
        argv: arguments; default: the command line's.
    """
    arguments = _parser().parse_args(argv)
    try:
        return _demo(arguments) if arguments.command == "demo" else _predict(arguments)
    except ClientError as error:
        print(f"python -m clients: {error}", file=sys.stderr)
        for pointer, detail in error.errors:
            print(f"  {pointer}: {detail}", file=sys.stderr)
        if error.request_id:
            print(f"  {error.code}, request {error.request_id}", file=sys.stderr)
        if isinstance(error, Rejected):
            return EXIT_REJECTED
        return EXIT_BUSY if isinstance(error, Busy) else EXIT_FAILED
    except (OSError, ValueError) as error:
        print(f"python -m clients: {error}", file=sys.stderr)
        return EXIT_USAGE


def _predict(arguments: argparse.Namespace) -> int:
    truth = None if arguments.truth is None else Truth.from_file(arguments.truth)
    segments = arguments.segment if truth is None else arguments.segment or truth.segments
    with EgoPackClient(arguments.url, api_key=os.environ.get("EGOPACK_API_KEY")) as client:
        result = client.predict(
            arguments.clip,
            tasks=arguments.task,
            segments=segments,
            top_k=arguments.top_k,
            seed=arguments.seed,
        )
    if arguments.json:
        print(json.dumps(dataclasses.asdict(result), indent=1))
    else:
        print(describe(result, truth))
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    """Starts a server with the shipped bundle, asks about the sample clip, stops it."""
    clip, truth = arguments.sample / "clip.mp4", Truth.from_file(arguments.sample / "truth.json")
    flags = [] if arguments.bundle is None else ["--bundle", str(arguments.bundle)]
    print("starting a server ...", flush=True)
    with LocalServer(*flags) as server:
        print(f"ready at {server.url} after {server.start_s:.1f} s; POST {clip.name}\n", flush=True)
        with EgoPackClient(server.url) as client:
            result = client.predict(clip, segments=truth.segments)
    check_stopped(server)
    print(describe(result, truth))
    print("\n* as it really happens. The server has stopped.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m clients", description="Ask an EgoPack server about a clip."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    predict = commands.add_parser(
        "predict",
        help="answers about one clip",
        epilog="EGOPACK_API_KEY is sent if it is set.",
    )
    predict.add_argument("clip", type=Path)
    predict.add_argument("--url", default="http://127.0.0.1:8080", help="default: %(default)s")
    predict.add_argument(
        "--task",
        action="append",
        help="ar, lta, oscc, pnr or a skill of the bundle's own; repeat it; default: all",
    )
    predict.add_argument(
        "--segment",
        action="append",
        nargs=2,
        type=float,
        metavar=("START_S", "END_S"),
        help="a stretch to answer for; repeat it; default: the clip cut evenly",
    )
    predict.add_argument("--top-k", type=int, help="labels in each ranked list")
    predict.add_argument("--seed", type=int, help="of the sampled futures")
    predict.add_argument("--truth", type=Path, help="truth.json to print beside the answers")
    predict.add_argument("--json", action="store_true", help="the answer as JSON")
    demo = commands.add_parser("demo", help="a server, a sample clip, the answers beside the truth")
    demo.add_argument("--sample", type=Path, default=SAMPLE, help="folder of clip.mp4, truth.json")
    demo.add_argument("--bundle", type=Path, help="bundle to serve; default: the shipped one")
    return parser


if __name__ == "__main__":
    sys.exit(main())
