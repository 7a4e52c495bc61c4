"""python -m weights: list and verify bundles."""

import argparse
import json
import sys
from pathlib import Path

from weights.bundle import load_bundle
from weights.errors import WeightsError
from weights.manifest import MANIFEST_FILE

SHIPPED = Path(__file__).parent


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns 0 when every bundle is sound, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m weights", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="bundles that ship with the project")
    verify = commands.add_parser("verify", help="check every byte of a bundle against its hashes")
    verify.add_argument("folder", type=Path)
    arguments = parser.parse_args(argv)
    if arguments.command == "list":
        folders = sorted(path.parent for path in SHIPPED.glob(f"*/{MANIFEST_FILE}"))
    else:
        folders = [arguments.folder]
    sound = True
    for folder in folders:
        try:
            bundle = load_bundle(folder)
        except WeightsError as error:
            print(f"{folder}: {error}", file=sys.stderr)
            sound = False
            continue
        facts = {
            "bundle": str(folder),
            "name": bundle.manifest.name,
            "version": bundle.manifest.version,
            "sha256": bundle.sha256,
            "skills": sorted(bundle.skills),
            "bytes": sum(facts["bytes"] for facts in bundle.manifest.files.values()),
        }
        print(json.dumps(facts))
    return 0 if sound else 1


if __name__ == "__main__":
    raise SystemExit(main())
