"""A data set in Ego4D's layout, with released features -> what training starts from."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from model.data.annotations import DataRoot, Split
from model.data.missing import LEFT_OUT, Missing, say_left_out, with_missing
from model.data.records import SplitRecords, annotated_in, farthest
from model.data.samples import Samples, Tracks
from model.data.task_samples import Enumeration, split_samples
from model.data.tracks import Progress, load_tracks
from model.errors import AnnotationInvalid
from model.tasks import AR, LTA, TASKS
from model.train.datasets.prepared import Prepared
from model.train.ledger import stage_key


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
        labels=data.taxonomy,
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
