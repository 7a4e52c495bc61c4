"""python -m weights: list, verify, import, push and pull bundles, fetch published backbones.

Exit status: 0 all went well, 1 it did not, 2 wrong arguments or terms that were not accepted.
"""

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from weights.authors.convert import FEATURES, NUM_NEIGHBOURS, import_authors
from weights.bundle import Bundle, load_bundle, save_bundle
from weights.bundle.files import push_files, read_files, write_files
from weights.bundle.manifest import MANIFEST_FILE
from weights.errors import ImportRefused, WeightsError
from weights.published.catalogue import DOWNLOADS, FOLDER_VARIABLE, PUBLISHED
from weights.published.fetch import fetch
from weights.storage.folders import Place, as_place

SHIPPED = Path(__file__).parent
URL_VARIABLE = "EGOPACK_WEIGHTS_URL"


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    arguments = _parse(argv)
    if arguments.command == "import-authors":
        return _import(arguments)
    if arguments.command == "fetch":
        return _list_published() if arguments.list else _fetch(arguments)
    if arguments.command in ("push", "pull"):
        return _move(arguments)
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
    verify.add_argument("folder", type=as_place, help="or the URL of one")
    _add_push(commands)
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


def _add_push(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    what = "put a bundle where others read it"
    description = (
        f"{what[0].upper()}{what[1:]}: what is not there yet, the manifest last, so that readers "
        "see the bundle before or this one, whole. Run it again to go on after a break."
    )
    push = commands.add_parser("push", help=what, description=description)
    push.add_argument("source", type=as_place, metavar="BUNDLE", help="folder or URL")
    push.add_argument("target", type=as_place, metavar="URL", help="such as s3://bucket/bundle")
    what = "copy a bundle from a URL into a folder, checking every byte"
    pull = commands.add_parser("pull", help=what, description=f"{what[0].upper()}{what[1:]}.")
    pull.add_argument("source", type=as_place, metavar="URL", help="or a folder")
    pull.add_argument("target", type=Path, metavar="FOLDER", help="new, or a bundle to replace")


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


def _move(arguments: argparse.Namespace) -> int:
    """Pushes or pulls; a bundle that is not sound is not moved."""
    target = arguments.target
    try:
        bundle = load_bundle(arguments.source)
        files = read_files(arguments.source)
        if arguments.command == "pull":
            _refuse_other(target)
            write_files(files, target)
        else:
            total = sum(map(len, files.parts.values()))
            with tqdm(total=total, unit="B", unit_scale=True, disable=None) as bar:
                push_files(files, target, progress=bar.update)
    except (WeightsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; what is there stays, run again to go on", file=sys.stderr)
        return 1
    _print_facts(target, bundle)
    return 0


def _refuse_other(folder: Path) -> None:
    """Writing a bundle replaces the whole folder, so it has to be one, or new."""
    if folder.exists() and not (folder / MANIFEST_FILE).is_file():
        raise ImportRefused(f"{folder} exists and is no bundle; name a new folder or a bundle")


def _import(arguments: argparse.Namespace) -> int:
    out: Path = arguments.out
    try:
        _refuse_other(out)
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


def _print_facts(folder: Place, bundle: Bundle) -> None:
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
