"""python -m weights: list and verify bundles, import checkpoints of the authors' code."""

import argparse
import json
import sys
from pathlib import Path

from weights.authors import FEATURES, NUM_NEIGHBOURS, import_authors
from weights.bundle import Bundle, load_bundle, save_bundle
from weights.errors import ImportRefused, WeightsError
from weights.manifest import MANIFEST_FILE

SHIPPED = Path(__file__).parent


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns 0 when all went well, 1 otherwise."""
    arguments = _parse(argv)
    if arguments.command == "import-authors":
        return _import(arguments)
    if arguments.command == "list":
        folders = sorted(path.parent for path in SHIPPED.glob(f"*/{MANIFEST_FILE}"))
    else:
        folders = [arguments.folder]
    sound = True
    for folder in folders:
        try:
            _print_facts(folder, load_bundle(folder))
        except WeightsError as error:
            print(f"{folder}: {error}", file=sys.stderr)
            sound = False
    return 0 if sound else 1


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m weights", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="bundles that ship with the project")
    verify = commands.add_parser("verify", help="check every byte of a bundle against its hashes")
    verify.add_argument("folder", type=Path)
    what = "make a bundle of checkpoints of the authors' code"
    authors = commands.add_parser(
        "import-authors",
        help=what,
        description=f"{what[0].upper()}{what[1:]}: of one multi-task model, or of up to four tasks "
        "that were learnt with a backpack. Only tensors are read; nothing in a file is run.",
    )
    authors.add_argument(
        "checkpoints", type=Path, nargs="+", metavar="FILE", help="as the authors' code saves them"
    )
    authors.add_argument(
        "--taxonomy", type=Path, required=True, help="Ego4D's fho_lta_taxonomy.json"
    )
    authors.add_argument(
        "--actions", type=Path, help="Ego4D's fho_lta_train.json, to name the prototypes by"
    )
    authors.add_argument("--out", type=Path, required=True, help="folder of the bundle")
    authors.add_argument("--name", default="authors", help="of the bundle (default: %(default)s)")
    authors.add_argument(
        "--k",
        type=int,
        default=NUM_NEIGHBOURS,
        help="neighbours that were matched in training (default: %(default)s)",
    )
    authors.add_argument(
        "--features",
        default=FEATURES,
        metavar="NAME",
        help="feature set the checkpoints were trained on (default: %(default)s)",
    )
    authors.add_argument(
        "--vectors",
        type=int,
        default=3,
        metavar="S",
        help="feature vectors per node (default: %(default)s)",
    )
    arguments = parser.parse_args(argv)
    for flag in ("k", "vectors"):
        if getattr(arguments, flag, 1) < 1:
            parser.error(f"--{flag} must be at least 1")
    return arguments


def _import(arguments: argparse.Namespace) -> int:
    out: Path = arguments.out
    try:
        if out.exists() and not (out / MANIFEST_FILE).is_file():
            raise ImportRefused(f"{out} exists and is no bundle; name a new folder or a bundle")
        bundle = import_authors(
            arguments.checkpoints,
            taxonomy=arguments.taxonomy,
            actions=arguments.actions,
            name=arguments.name,
            num_neighbours=arguments.k,
            features=arguments.features,
            vectors_per_node=arguments.vectors,
        )
    except ImportRefused as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for note in bundle.manifest.training["notes"]:
        print(f"warning: {note}", file=sys.stderr)
    _print_facts(out, save_bundle(bundle, out))
    return 0


def _print_facts(folder: Path, bundle: Bundle) -> None:
    facts = {
        "bundle": str(folder),
        "name": bundle.manifest.name,
        "version": bundle.manifest.version,
        "sha256": bundle.sha256,
        "skills": sorted(bundle.skills),
        "bytes": sum(facts["bytes"] for facts in bundle.manifest.files.values()),
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    raise SystemExit(main())
