"""Command `python -m weights`: list, verify, import, push and pull bundles, fetch backbones.

Exit status: 0 all went well, 1 it did not, 2 wrong arguments or terms that were not accepted.
"""

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from weights import SHIPPED_BUNDLE
from weights.authors.convert import FEATURES, NUM_NEIGHBOURS, import_authors
from weights.bundle import Bundle, load_bundle, save_bundle
from weights.bundle.files import push_files, read_files, write_files
from weights.bundle.manifest import MANIFEST_FILE
from weights.errors import ImportRefused, WeightsError
from weights.published.catalogue import DOWNLOADS, FOLDER_VARIABLE, PUBLISHED
from weights.published.fetch import fetch
from weights.storage.folders import Place, as_place, is_repository

URL_VARIABLE = "EGOPACK_WEIGHTS_URL"


class VerifyOptions(argparse.Namespace):
    """Parsed flags of list and verify."""

    places: list[Place]


class MoveOptions(argparse.Namespace):
    """Parsed flags of push and pull."""

    source: Place
    target: Place
    private: bool


class FetchOptions(argparse.Namespace):
    """Parsed flags of fetch."""

    name: str | None
    list: bool
    url: str | None
    out: Path | None
    accept_license: bool


class ImportOptions(argparse.Namespace):
    """Parsed flags of import-authors."""

    checkpoints: list[Path]
    taxonomy: Path
    actions: Path | None
    out: Path
    name: str
    k: int
    features: str
    vectors: int


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = _parse(argv)
    try:
        status: int = options.run(options)
    except (WeightsError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; what is complete is kept, run again to go on", file=sys.stderr)
        return 1
    return status


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m weights", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name: str, run: Any, what: str, more: str = ".") -> argparse.ArgumentParser:
        text = f"{what[0].upper()}{what[1:]}{more}"
        command = commands.add_parser(name, help=what, description=text)
        command.set_defaults(run=run)
        return command

    shipped = sorted(path.parent for path in SHIPPED_BUNDLE.parent.glob(f"*/{MANIFEST_FILE}"))
    add("list", _verify, "bundles that ship with the project").set_defaults(places=shipped)
    verify = add("verify", _verify, "check every byte of a bundle against its hashes")
    what = "folder of a bundle, or its URL"
    verify.add_argument("places", type=as_place, nargs=1, metavar="folder", help=what)
    push = add(
        "push",
        _push,
        "put a bundle where others read it",
        ": what is not there yet, the manifest last, or all of it in one commit on a hub, so that "
        "readers see the bundle before or this one, whole. Run it again to go on after a break.",
    )
    push.add_argument("source", type=as_place, metavar="BUNDLE", help="folder or URL to read")
    what = "such as s3://bucket/bundle, hf://owner/name or hf://owner/name@branch"
    push.add_argument("target", type=as_place, metavar="URL", help=what)
    what = "make the hub's repository a private one"
    push.add_argument("--private", action="store_true", help=what)
    pull = add("pull", _pull, "copy a bundle from a URL into a folder, checking every byte")
    pull.add_argument("source", type=as_place, metavar="URL", help="URL or folder to read")
    pull.add_argument("target", type=Path, metavar="FOLDER", help="new, or a bundle to replace")
    _add_fetch(
        add(
            "fetch",
            _fetch,
            "download a published backbone and keep its tensors as safetensors",
            ". Run it again to go on after a break, or to check what is there. A checkpoint that "
            "already lies in the folder is converted and not downloaded.",
        )
    )
    _add_import(
        add(
            "import-authors",
            _import,
            "make a bundle of checkpoints of the authors' code",
            ": of one multi-task model, or of up to four tasks that were learnt with a backpack. "
            "Only tensors are read; nothing in a file is run.",
        )
    )
    arguments = parser.parse_args(argv)
    for flag in ("k", "vectors"):
        if getattr(arguments, flag, 1) < 1:
            parser.error(f"--{flag} must be at least 1")
    if arguments.command == "push" and arguments.private and not is_repository(arguments.target):
        parser.error(f"--private is for a hub; {arguments.target} is none")
    if arguments.command == "fetch" and not (arguments.name or arguments.list):
        parser.error(f"name a backbone ({', '.join(PUBLISHED)}), or ask for the --list")
    return arguments


def _add_fetch(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "name", nargs="?", choices=PUBLISHED, metavar="NAME", help="backbone, as --list names it"
    )
    command.add_argument("--list", action="store_true", help="print what can be fetched, as JSON")
    command.add_argument(
        "--url",
        help="address to download from; one that ends in / is a folder that holds the file "
        f"(default: {URL_VARIABLE}, else its publisher)",
    )
    command.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help=f"folder to write (default: NAME in {FOLDER_VARIABLE}, else in {DOWNLOADS})",
    )
    command.add_argument(
        "--accept-license", action="store_true", help="accept the terms it is published under"
    )


def _add_import(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    what = "checkpoint, as the authors' code saves it"
    add("checkpoints", type=Path, nargs="+", metavar="FILE", help=what)
    add("--taxonomy", type=Path, required=True, help="Ego4D's fho_lta_taxonomy.json")
    what = "Ego4D's fho_lta_train.json, to name the prototypes by (default: no names)"
    add("--actions", type=Path, help=what)
    add("--out", type=Path, required=True, help="folder of the bundle to write")
    add("--name", default="authors", help="name of the bundle (default: %(default)s)")
    what = "neighbours that were matched in training (default: %(default)s)"
    add("--k", type=int, default=NUM_NEIGHBOURS, help=what)
    what = "feature set the checkpoints were trained on (default: %(default)s)"
    add("--features", default=FEATURES, metavar="NAME", help=what)
    what = "feature vectors per node (default: %(default)s)"
    add("--vectors", type=int, default=3, metavar="S", help=what)


def _verify(options: VerifyOptions) -> int:
    """Prints the facts of every bundle that is sound, an error for the others."""
    status = 0
    for place in options.places:
        try:
            _print_facts(place, load_bundle(place))
        except WeightsError as error:
            print(f"{place}: {error}", file=sys.stderr)
            status = 1
    return status


def _fetch(options: FetchOptions) -> int:
    if options.list or options.name is None:
        for backbone in PUBLISHED.values():
            print(json.dumps(asdict(backbone)))
        return 0
    backbone = PUBLISHED[options.name]
    terms = f"{backbone.name}: {backbone.source}; {backbone.licence}. {backbone.terms}"
    print(terms, file=sys.stderr)
    if backbone.non_commercial and not options.accept_license:
        print("error: if you accept these terms, add --accept-license", file=sys.stderr)
        return 2
    url = options.url or os.environ.get(URL_VARIABLE) or backbone.url
    if url.endswith("/"):
        url += backbone.file
    downloads = Path(os.environ.get(FOLDER_VARIABLE) or DOWNLOADS)
    folder = options.out or downloads / backbone.name
    with tqdm(unit="B", unit_scale=True, unit_divisor=1024, disable=None) as bar:

        def show(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        record = fetch(backbone, folder, url=url, progress=show)
    print(json.dumps({"folder": str(folder), **record}))
    return 0


def _push(options: MoveOptions) -> int:
    """Copies a bundle to a URL, once it has been verified."""
    bundle, files = load_bundle(options.source), read_files(options.source)
    total = sum(map(len, files.parts.values()))
    with tqdm(total=total, unit="B", unit_scale=True, disable=None) as bar:
        place = push_files(files, options.target, private=options.private, progress=bar.update)
    return _print_facts(place, bundle)


def _pull(options: MoveOptions) -> int:
    """Copies a bundle into a folder, once it has been verified."""
    bundle, files = load_bundle(options.source), read_files(options.source)
    target = Path(options.target)
    _refuse_other(target)
    write_files(files, target)
    return _print_facts(target, bundle)


def _refuse_other(folder: Path) -> None:
    """Writing a bundle replaces the whole folder, so it has to be one, or new."""
    if folder.exists() and not (folder / MANIFEST_FILE).is_file():
        raise ImportRefused(f"{folder} exists and is no bundle; name a new folder or a bundle")


def _import(options: ImportOptions) -> int:
    _refuse_other(options.out)
    bundle = import_authors(
        options.checkpoints,
        taxonomy=options.taxonomy,
        actions=options.actions,
        name=options.name,
        num_neighbours=options.k,
        features=options.features,
        vectors_per_node=options.vectors,
    )
    for note in bundle.manifest.training["notes"]:
        print(f"warning: {note}", file=sys.stderr)
    return _print_facts(options.out, save_bundle(bundle, options.out))


def _print_facts(place: Place, bundle: Bundle) -> int:
    facts = {
        "bundle": str(place),
        "name": bundle.manifest.name,
        "version": bundle.manifest.version,
        "sha256": bundle.sha256,
        "skills": sorted(bundle.skills),
        "bytes": sum(facts["bytes"] for facts in bundle.manifest.files.values()),
    }
    print(json.dumps(facts))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
