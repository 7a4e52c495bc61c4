"""A data set in Ego4D's layout, with released features -> what training starts from."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

from tqdm import tqdm

from model.data.annotations import FEATURES, VERSIONS, DataRoot, Split
from model.data.missing import LEFT_OUT, Missing, say_left_out, with_missing
from model.data.records import SplitRecords, annotated_in, farthest
from model.data.samples import Samples, Tracks
from model.data.task_samples import Enumeration, split_samples
from model.data.tracks import Progress, load_tracks
from model.errors import AnnotationInvalid
from model.evaluate.paper import WINDOWS
from model.tasks import AR, LTA, TASKS
from model.train.datasets.prepared import Prepared
from model.train.ledger import stage_key
from model.train.methods.trainer import NEEDS_OTHERS


def prepare_ego4d(
    root: Path,
    features: str,
    *,
    version: str | None,
    enumeration: Enumeration,
    packed_under: Path,
    tasks: Sequence[str] = tuple(TASKS),
    has_backpack: bool = True,
    missing: Missing = "refuse",
    progress: bool = True,
) -> Prepared:
    """Returns the samples of train and val; the test split's labels are hidden.

    Args:
        root: folder that holds `v1/` or `v2/`.
        features: name of a feature set under it, or a folder or URL of one.
        version: which annotations; None takes v1 where it is there.
        enumeration: which LTA windows count.
        packed_under: where features are packed into one memory-mapped file.
        tasks: what is learnt; files of other tasks are not opened.
        has_backpack: AR's training samples come along, to fill a backpack from.
        missing: what becomes of samples whose video has no features; with "skip" the facts name
            those videos.
        progress: shows a bar.

    Raises:
        AnnotationInvalid: a file is missing or malformed, or has no label that a task or the
            backpack needs; the message says how to fetch it, or what to leave out.
        FeaturesMissing: a video has no feature file and that is refused, or no video of a split
            has one; the message says how to fetch it.
        FeatureFileInvalid: a feature file is none, or not of its whole video.
    """
    data = DataRoot.find(root, version)
    also = [AR.name] if has_backpack and AR.name not in tasks else []
    records: dict[Split, SplitRecords] = {
        "train": data.read("train", [*tasks, *also]),
        "val": data.read("val", tasks),
    }

    def check(left_out: int = 0) -> None:
        for split, found in records.items():
            labels = split_samples(found, Tracks.unread(found.videos), enumeration=enumeration)
            _check_labels(data, split, labels, tasks, has_backpack=has_backpack, left_out=left_out)

    check()
    with tqdm(desc="features", unit="video", disable=not progress) as bar:

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        tracks, gone = _load(data, records, features, packed_under, missing, advance)
    facts: dict[str, object] = {
        "licence": "Ego4D's licence binds whoever trained on it",
        "lta_windows": enumeration,
    }
    if gone:
        facts[LEFT_OUT] = sorted(gone)
        records = {split: found.without(gone) for split, found in records.items()}
        check(len(gone))
        if progress:
            say_left_out(sorted(gone))
    samples: dict[str, dict[str, Samples]] = {
        split: split_samples(found, tracks, enumeration=enumeration)
        for split, found in records.items()
    }
    return Prepared(
        samples=samples,
        labels=data.taxonomy(),
        encoder={"name": Path(features).name, "kind": "features"},
        encoder_tensors={},
        key=stage_key(str(root.resolve()), features, data.version, enumeration, *sorted(gone)),
        data=f"Ego4D {data.version} annotations with {Path(features).name} features",
        facts=facts,
    )


def _load(
    data: DataRoot,
    records: Mapping[Split, SplitRecords],
    features: str,
    packed_under: Path,
    missing: Missing,
    advance: Progress,
) -> tuple[Tracks, frozenset[str]]:
    """Returns the features of all splits, and the videos that have none."""
    found = [annotated_in(of_split) for of_split in records.values()]
    annotated = farthest(item for of_split in found for item in of_split.items())

    def load(videos: Sequence[str]) -> Tracks:
        return load_tracks(
            data,
            videos,
            features,
            packed_under=packed_under,
            annotated=annotated,
            progress=advance,
        )

    return with_missing(load, [list(of_split) for of_split in found], missing)


def _check_labels(
    data: DataRoot,
    split: Split,
    samples: Mapping[str, Samples],
    tasks: Sequence[str],
    *,
    has_backpack: bool,
    left_out: int,
) -> None:
    """Refuses, before anything is trained, a split without labels that will be asked for."""
    where = f" of a video that has features ({left_out} have none)" if left_out else ""
    what = "learn from" if split == "train" else "fit temperatures on"
    for task in tasks:
        if hidden := samples[task].hidden:
            actions = f" (windows of {LTA.num_nodes} actions in a clip)" if task == LTA.name else ""
            raise AnnotationInvalid(
                f"{data.file_of(task, split)}: no sample of {task}{actions}{where} has a label of "
                f"{' or '.join(hidden)}, so there is nothing to {what}; leave {task} out: --tasks "
                f"{' '.join(t for t in tasks if t != task) or 'with others'}"
            )
    if split == "train" and has_backpack:
        verb, noun = (samples[AR.name].known[output] for output in AR.outputs)
        if not (verb & noun).any():
            raise AnnotationInvalid(
                f"{data.file_of(AR.name, split)}: no action{where} has both a verb_label and a "
                "noun_label, so there is nothing to fill the backpack with"
            )


def add_task_argument(parser: argparse.ArgumentParser) -> None:
    """Adds the choice of tasks: an EgoPack needs two, one novel and one known."""
    parser.add_argument(
        "--tasks", nargs="+", choices=list(TASKS), default=list(TASKS), help="to learn (all four)"
    )


def check_tasks(
    parser: argparse.ArgumentParser, tasks: Sequence[str], methods: Sequence[str]
) -> None:
    """Ends the command where a method has no known task to learn from."""
    alone = [m for m in methods if m in NEEDS_OTHERS]
    if len(set(tasks)) < 2 and alone:
        parser.error(f"{', '.join(alone)} needs at least two --tasks: one novel, one known")


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what every command says of a data set in Ego4D's layout."""
    data = parser.add_argument_group("data in Ego4D's layout")
    data.add_argument("--data", type=Path, help="folder that holds v1/ or v2/")
    data.add_argument(
        "--version", choices=VERSIONS, help="which of them (default: v1 where it is there, else v2)"
    )
    data.add_argument("--features", help=f"name of a released set ({FEATURES}), a folder, a URL")
    data.add_argument(
        "--missing",
        choices=get_args(Missing),
        help="what to do about videos without features: end, or skip their samples (refuse)",
    )
    data.add_argument("--preset", choices=["paper", "authors"], help="hyper-parameters (paper)")
    add_lta_windows(data, f"{WINDOWS} with --preset authors and in reproduce, else current")


def add_lta_windows(parser: argparse._ActionsContainer, default: str) -> None:
    """Adds which of LTA's windows count, None where it is left to the `default` in words."""
    parser.add_argument(
        "--lta-windows",
        choices=list(get_args(Enumeration)),
        help="before-2023-08 leaves out each clip's last window, as the published numbers did "
        f"(default: {default})",
    )


def settle_data_arguments(
    parser: argparse.ArgumentParser,
    arguments: argparse.Namespace,
    *,
    unused: Sequence[str] = (),
    lta_windows: Enumeration = "current",
) -> None:
    """Fills in what was left out, and ends the command where an option would be ignored.

    Args:
        parser: whose options they are.
        arguments: what was given.
        unused: options that nothing would look at.
        lta_windows: where none are named; the authors' preset has its own.
    """
    given = [f"--{name}" for name in unused if getattr(arguments, name.replace("-", "_"))]
    if given:
        parser.error(f"{', '.join(given)}: for data in Ego4D's layout alone, and there is none")
    arguments.preset = arguments.preset or "paper"
    arguments.missing = arguments.missing or "refuse"
    default = WINDOWS if arguments.preset == "authors" else lta_windows
    arguments.lta_windows = arguments.lta_windows or default
