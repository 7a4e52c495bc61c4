"""Sub-command `demo`: a server with the shipped bundle, a sample clip, answers beside the truth."""

import argparse
from pathlib import Path

from clients.client import EgoPackClient
from clients.local import LocalServer, check_stopped
from clients.output.text import Truth, describe

SAMPLE = Path(__file__).parents[1] / "sample"


class Options(argparse.Namespace):
    """Parsed flags."""

    sample: Path
    bundle: Path | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the sub-command's flags."""
    parser.add_argument(
        "--sample", type=Path, default=SAMPLE, help="folder of clip.mp4 and truth.json"
    )
    parser.add_argument("--bundle", type=Path, help="bundle to serve; default: the shipped one")


def run(options: Options) -> int:
    """Starts a server, sends it the sample clip, stops it; returns the exit status."""
    clip, truth = options.sample / "clip.mp4", Truth.from_file(options.sample / "truth.json")
    flags = [] if options.bundle is None else ["--bundle", str(options.bundle)]
    print("starting a server ...", flush=True)
    with LocalServer(*flags) as server:
        print(f"ready at {server.url} after {server.start_s:.1f} s; POST {clip.name}\n", flush=True)
        with EgoPackClient(server.url) as client:
            result = client.predict(clip, segments=truth.segments)
    check_stopped(server)
    print(describe(result, truth))
    print("\n* as it really happens. The server has stopped.")
    return 0
