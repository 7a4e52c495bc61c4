"""Ego4D data set: annotations in its layout and released features -> `Prepared`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from model.data.annotations import FEATURES, DataRoot, Split
from model.data.missing import LEFT_OUT, Missing, say_left_out, with_missing
from model.data.records import SplitRecords, annotated_in, farthest
from model.data.samples import Samples, Tracks
from model.data.task_samples import split_samples
from model.data.tracks import Progress, load_tracks
from model.errors import AnnotationInvalid
from model.tasks import AR, LTA
from model.train.datasets.prepared import Prepared, progress_bar
from model.train.ledger import stage_key
from model.train.options import TrainingOptions


def prepare_ego4d(
    options: TrainingOptions,
    *,
    packed_under: Path,
    has_backpack: bool = True,
    progress: bool = True,
) -> Prepared:
    """Returns the samples of train and val; the test split's labels are hidden.

    Args:
        options: data root, version, features, LTA windows, tasks (files of others are not opened),
            and treatment of samples without features; with "skip" the facts name their videos.
        packed_under: folder of the memory-mapped file that features are packed into.
        has_backpack: reads AR's training samples, too, to fill a backpack from.
        progress: shows a progress bar.

    Raises:
        AnnotationInvalid: a file is missing or malformed, or has no label that a task or the
            backpack needs; the message gives the command or the flag that helps.
        FeaturesMissing: a video has no feature file and that is refused, or no video of a split
            has one; the message gives the command that fetches it.
        FeatureFileInvalid: a feature file is malformed, or does not cover its whole video.
    """
    assert isinstance(options.data, Path)
    root, tasks, enumeration = options.data, options.tasks, options.lta_windows
    features = options.features or FEATURES
    data = DataRoot.find(root, options.version)
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
    with progress_bar("features", shown=progress) as advance:
        tracks, gone = _load(data, records, features, packed_under, options.missing, advance)
    facts: dict[str, object] = {
        "licence": "Ego4D's licence binds those who train on it",
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
        labels=data.taxonomy,
        encoder={"name": Path(features).name, "kind": "features"},
        encoder_tensors={},
        key=stage_key(str(root.resolve()), features, data.version, enumeration, *sorted(gone)),
        data=f"Ego4D {data.version} annotations with {Path(features).name} features",
        facts=facts,
    )


def ego4d_words(options: TrainingOptions) -> list[str]:
    """Returns the flags of a command that read the same data, without the places of files."""
    assert isinstance(options.data, Path)
    version = DataRoot.find(options.data, options.version).version
    features = Path(options.features or FEATURES).name
    words = [f"--data ROOT --version {version}", f"--features {features}"]
    words += [f"--preset {options.preset}", f"--lta-windows {options.lta_windows}"]
    return words + (["--missing skip"] if options.missing == "skip" else [])


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
    """Raises, before training starts, where a split lacks labels that a later stage needs."""
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
