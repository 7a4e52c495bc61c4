"""python -m weights: list, verify and import bundles, fetch published backbones.

Exit status: 0 all went well, 1 it did not, 2 wrong arguments or terms that were not accepted.
"""

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from weights.authors import FEATURES, NUM_NEIGHBOURS, import_authors
from weights.bundle import Bundle, load_bundle, save_bundle
from weights.errors import ImportRefused, WeightsError
from weights.fetch import fetch
from weights.manifest import MANIFEST_FILE
from weights.published import DOWNLOADS, FOLDER_VARIABLE, PUBLISHED

SHIPPED = Path(__file__).parent
URL_VARIABLE = "EGOPACK_WEIGHTS_URL"


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    arguments = _parse(argv)
    if arguments.command == "import-authors":
        return _import(arguments)
    if arguments.command == "fetch":
        return _list_published() if arguments.list else _fetch(arguments)
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
    what = "download a published backbone and keep its tensors as safetensors"
    description = (
        f"{what[0].upper()}{what[1:]}. Run it again to go on after a break, or to check what is "
        "there. A checkpoint that already lies in the folder is converted and not downloaded."
    )
    _add_fetch(commands.add_parser("fetch", help=what, description=description))
    what = "make a bundle of checkpoints of the authors' code"
    description = (
        f"{what[0].upper()}{what[1:]}: of one multi-task model, or of up to four tasks "
        "that were learnt with a backpack. Only tensors are read; nothing in a file is run."
    )
    _add_import(commands.add_parser("import-authors", help=what, description=description))
    arguments = parser.parse_args(argv)
    for flag in ("k", "vectors"):
        if getattr(arguments, flag, 1) < 1:
            parser.error(f"--{flag} must be at least 1")
    if arguments.command == "fetch" and not (arguments.name or arguments.list):
        parser.error(f"name a backbone ({', '.join(PUBLISHED)}), or ask for the --list")
    return arguments


def _add_fetch(command: argparse.ArgumentParser) -> None:
    command.add_argument("name", nargs="?", choices=PUBLISHED, metavar="NAME", help="see --list")
    command.add_argument("--list", action="store_true", help="what can be fetched, from where")
    command.add_argument(
        "--url",
        help="take it from here; an address that ends in / is a folder that holds the file "
        f"(default: {URL_VARIABLE}, else its publisher)",
    )
    command.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help=f"folder for it (default: NAME in {FOLDER_VARIABLE}, else in {DOWNLOADS})",
    )
    command.add_argument(
        "--accept-license", action="store_true", help="you accept the terms it is published under"
    )


def _add_import(authors: argparse.ArgumentParser) -> None:
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


def _list_published() -> int:
    for backbone in PUBLISHED.values():
        print(json.dumps(asdict(backbone)))
    return 0


def _fetch(arguments: argparse.Namespace) -> int:
    backbone = PUBLISHED[arguments.name]
    print(
        f"{backbone.name}: {backbone.source}; {backbone.licence}. {backbone.terms}", file=sys.stderr
    )
    if backbone.non_commercial and not arguments.accept_license:
        print("error: if you accept these terms, add --accept-license", file=sys.stderr)
        return 2
    url = arguments.url or os.environ.get(URL_VARIABLE) or backbone.url
    if url.endswith("/"):
        url += backbone.file
    downloads = Path(os.environ.get(FOLDER_VARIABLE) or DOWNLOADS)
    folder = arguments.out or downloads / backbone.name
    try:
        with tqdm(unit="B", unit_scale=True, unit_divisor=1024, disable=None) as bar:

            def show(done: int, total: int | None) -> None:
                bar.total = total
                bar.update(done - bar.n)

            record = fetch(backbone, folder, url=url, progress=show)
    except WeightsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; what came is kept, run again to go on", file=sys.stderr)
        return 1
    print(json.dumps({"folder": str(folder), **record}))
    return 0


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
