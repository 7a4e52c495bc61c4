"""`python -m tests.ecosystem`: our exports in the tools they are for, as they are published.

Each tool goes into a fresh environment of its own and is started on loopback: minutes, 2 GB each.
"""

import argparse
import importlib
import logging
import sys
import tempfile
import time
from pathlib import Path

from clients.client import EgoPackClient
from clients.local import LocalServer

SAMPLE = Path(__file__).parents[2] / "clients" / "sample" / "clip.mp4"
TOOLS = {"fiftyone": "with_fiftyone", "label-studio": "with_label_studio"}
"""Name on the command line -> module here."""


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.ecosystem", description=__doc__)
    parser.add_argument("tool", nargs="?", choices=TOOLS, help="default: all")
    parser.add_argument("--work", type=Path, help="folder to work in; default: a temporary one")
    parser.add_argument("--pictures", type=Path, help="keep pictures of the tools' pages here")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with tempfile.TemporaryDirectory(dir=arguments.work, prefix="egopack-") as folder:
        pictures = arguments.pictures or Path(folder)
        pictures.mkdir(parents=True, exist_ok=True)
        with LocalServer() as server:
            with EgoPackClient(server.url) as client:
                result = client.predict(SAMPLE)
            for name in [arguments.tool] if arguments.tool else TOOLS:
                started_s = time.monotonic()
                work = Path(folder) / name
                work.mkdir()
                module = importlib.import_module(f"tests.ecosystem.{TOOLS[name]}")
                module.check(work, pictures, SAMPLE, result, server.url)
                print(f"{name}: as expected, {time.monotonic() - started_s:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
