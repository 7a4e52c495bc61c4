"""Table data set: labelled segments of any kind, with videos or features -> `Prepared`."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from extract.encoders.encoder import VideoEncoder
from extract.encoders.library.spec import is_library_spec
from extract.encoders.load import encoder_spec, load_named_encoder
from extract.features.store import FeatureStore
from extract.features.track import FeatureTrack
from model.data.samples import Samples, Tracks
from model.data.tables.features import (
    features_folder,
    last_ends,
    own_tracks,
    slack_of,
    stored_encoder,
    within_videos,
)
from model.data.tables.kinds import load_table, source_name
from model.data.tables.label_file import SPLITS, Split
from model.data.tables.rare import treat_rare
from model.data.tables.samples import nominal_frames, prototype_samples, row_frames, table_samples
from model.data.tables.splits import split_by_video
from model.data.tables.table import SegmentTable
from model.data.tables.tasks import TableTasks, name_outputs, tasks_of, with_names
from model.data.video_files import find_table_videos
from model.errors import AnnotationInvalid, SettingInvalid
from model.train.datasets.prepared import Prepared, progress_bar
from model.train.ledger import Ledger, stage_key
from model.train.options import TrainingOptions
from weights.bundle import load_bundle
from weights.bundle.manifest import Manifest
from weights.published.catalogue import PUBLISHED
from weights.storage.folders import as_place

LEAST_ROWS = 16
"""Of training: one batch."""

_LEARNT: tuple[Split, ...] = ("train", "val")


@dataclass(frozen=True, eq=False)
class TableData:
    """A table that can be learnt from.

    Attributes:
        spec: `KIND:ROOT`.
        table: with splits and without rare labels; its columns are called as outputs.
        columns: output -> column of the data set.
        tasks: to learn.
        words: flags of a command that make the same data, without the places of files.
        notes: what a user should know.
    """

    spec: str
    table: SegmentTable
    columns: Mapping[str, str]
    tasks: TableTasks
    words: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def labels(self) -> dict[str, list[str]]:
        """Output -> names by id."""
        return {name: self.table.names(name) for name in self.table.outputs}

    def describe(self) -> dict[str, Any]:
        """Returns rows, videos of each split, and columns, as plain values."""
        split = self.table.split or {}
        videos = {s: sum(s == part for part in split.values()) for s in SPLITS}
        return {
            "data": source_name(self.spec),
            "rows": len(self.table),
            "videos": {part: count for part, count in videos.items() if count},
            "columns": dict(self.columns),
            "prototypes": list(self.tasks.prototypes),
        }


def _words(options: TrainingOptions) -> list[str]:
    words = [f"--data {source_name(str(options.data))}", f"--preset {options.preset}"]
    if options.videos is not None:
        words.append("--videos DIR")
    if options.features is not None:
        words.append(f"--features {Path(options.features).name}")
    if options.encoder is not None:
        kind, colon, place = options.encoder.rpartition(":")
        is_place = Path(place).exists()
        words.append(
            f"--encoder {f'{kind}{colon}{Path(place).name}' if is_place else options.encoder}"
        )
    for flag in ("outputs", "prototypes", "tasks"):
        if values := getattr(options, flag):
            words.append(f"--{flag} {shlex.join(values)}")
    for flag in ("rare", "rare_below", "overlaps", "fps", "color"):
        if (value := getattr(options, flag)) is not None:
            words.append(f"--{flag.replace('_', '-')} {value}")
    return words


def open_table(options: TrainingOptions, *, seed: int) -> TableData:
    """Reads a data set by name, before any work, and decides what can be learnt from it.

    Args:
        options: the data set, its outputs, prototypes and tasks, and what rare labels become.
        seed: of the splits, where it has none.

    Raises:
        AnnotationInvalid: the table is malformed, or lacks labels that a task needs.
    """
    spec = str(options.data)
    table = load_table(spec, fps=options.fps, overlaps=options.overlaps)
    table = table.only(options.outputs or table.outputs)
    names = name_outputs(table.outputs)
    table = split_by_video(with_names(table, names), seed=seed)
    table = treat_rare(table, options.rare or "error", below=options.rare_below)
    if (count := len(table.rows_in("train"))) < LEAST_ROWS:
        raise AnnotationInvalid(
            f"{table.source}: {count} rows are for training, and {LEAST_ROWS} are the least to "
            "learn from: label more"
        )
    rows = options.prototypes and [names.get(name, name) for name in options.prototypes]
    found = tasks_of(table, rows)
    tasks, notes = _learnable(table, found.only(options.tasks) if options.tasks else found)
    if not tasks.specs:
        raise AnnotationInvalid(f"{table.source}: {notes[0]}, and it is all that --tasks names")
    named = [f"column {c!r} is called {name}" for c, name in names.items() if c != name]
    columns = {name: column for column, name in names.items()}
    words = tuple(_words(options))
    return TableData(spec, table, columns, tasks, words, (*table.notes, *named, *notes))


def _learnable(table: SegmentTable, tasks: TableTasks) -> tuple[TableTasks, list[str]]:
    """The tasks that train and val have labels of; without long sequences there is no forecast."""
    notes = []
    labels, frames = {name: table.names(name) for name in table.outputs}, nominal_frames(table)
    for split in _LEARNT:
        unread = Tracks.unread(table.videos)
        made = table_samples(table, split, tasks.specs, labels, frames, unread)
        for task, samples in made.items():
            hidden = samples.hidden
            if hidden and task == tasks.forecast:
                notes.append(
                    f"no video of {split} has {samples.spec.num_nodes} consecutive segments "
                    f"({samples.spec.num_segments} observed, {samples.spec.num_future} to come): "
                    f"{task} is left out"
                )
                tasks = tasks.without(task)
            elif hidden:
                raise AnnotationInvalid(
                    f"{table.source}: no row of {split} has a label of {' or '.join(hidden)}: "
                    "label some, or name the columns to learn with --outputs"
                )
    return tasks, notes


def prepare_table(
    data: TableData, options: TrainingOptions, folder: Path, ledger: Ledger, *, device: str
) -> Prepared:
    """Returns the samples of a table, with features from files or made of its videos here.

    Args:
        data: as `open_table` returns it.
        options: videos, encoder and features.
        folder: of the run; features that are made lie below it unless a place is named.
        ledger: times the features; its ranks share the work.
        device: of the encoder.

    Raises:
        AnnotationInvalid: videos or features are missing, or rows end after their video.
        ExtractError: features or videos cannot be read.
        WeightsError: the encoder is not there.
    """
    encoder, entry, tensors, licence = _encoder(options, device, data.table.videos)
    tracks = _tracks(data, options, folder, ledger, encoder)
    table = within_videos(data.table, tracks, slack_s=slack_of(data.spec, encoder))
    frames, joined, labels = row_frames(table, tracks), Tracks.join(tracks), data.labels
    samples: dict[str, dict[str, Samples]] = {
        split: table_samples(table, split, data.tasks.specs, labels, frames, joined)
        for split in SPLITS
    }
    if any(found.hidden for found in samples["test"].values()):
        del samples["test"]  # without all labels it cannot be scored
    facts = data.describe() | {"rare": options.rare, "rare_below": options.rare_below}
    return Prepared(
        samples=samples,
        labels=labels,
        encoder=entry,
        encoder_tensors=tensors,
        key=stage_key(_contents(table), encoder.fingerprint, options.features, data.tasks),
        data=f"{facts['data']}, {len(table)} segments of {len(table.videos)} videos",
        facts={"licence": licence, "table": facts},
        actions=prototype_samples(table, data.tasks.prototypes, labels, frames, joined),
    )


def _encoder(
    options: TrainingOptions, device: str, videos: Sequence[str]
) -> tuple[VideoEncoder, dict[str, Any], dict[str, Tensor], str]:
    """The encoder, its entry in the manifest, its tensors and its licence."""
    if options.encoder is None:
        assert options.features is not None
        found = stored_encoder(FeatureStore(as_place(options.features)), videos)
        return found, {"name": found.name, "kind": "features"}, {}, _terms(found.name, None)
    try:
        encoder = load_named_encoder(
            options.encoder,
            weights=options.weights,
            color=options.color,
            accept_license=options.accept_license,
        )
    except ValueError as error:
        raise SettingInvalid(f"--encoder {options.encoder}: {error}") from error
    entry, tensors = encoder_spec(encoder), dict(encoder.state_dict())
    return encoder.to(device), entry, tensors, _terms(encoder.name, _licence(options, entry))


def _licence(options: TrainingOptions, entry: Mapping[str, Any]) -> str | None:
    """The licence of an encoder's weights, as they or their catalogue state it."""
    if stated := entry.get("origin", {}).get("licence"):
        return str(stated)
    name = str(options.encoder)
    if name in PUBLISHED:
        return PUBLISHED[name].licence
    if is_library_spec(name):
        return None
    stated = load_bundle(as_place(name)).manifest.training.get("licence")
    return None if stated is None else str(stated)


def _terms(name: str, licence: str | None) -> str:
    stated = licence or "not stated by its weights"
    return f"The encoder {name}: {stated}. Videos and labels have terms of their own"


def _tracks(
    data: TableData,
    options: TrainingOptions,
    folder: Path,
    ledger: Ledger,
    encoder: VideoEncoder,
) -> list[FeatureTrack]:
    """The features of all videos; each rank makes its part of those that are missing."""
    place = options.features or features_folder(folder, encoder)
    store, ends = FeatureStore(as_place(place)), last_ends(data.table)
    videos = list(ends)

    def read(names: Sequence[str], *, shown: bool) -> list[FeatureTrack]:
        with progress_bar("features", shown=shown) as progress:
            return own_tracks(
                encoder,
                {name: ends[name] for name in names},
                store,
                options.videos,
                lambda home, missing: find_table_videos(home, data.table, missing),
                progress=progress,
            )

    def make() -> None:
        read(videos[ledger.world.part(len(videos))], shown=ledger.world.is_first)

    if options.videos is not None:
        key = stage_key(encoder.fingerprint, str(store.root), videos)
        ledger.files("features", key, make, shared=True)
    return read(videos, shown=False)


def _contents(table: SegmentTable) -> list[object]:
    """All that a table says, for a key."""
    bounds = [table.start_s.tolist(), table.end_s.tolist()]
    return [table.video, *bounds, dict(table.labels), dict(table.split or {})]


def card_section(manifest: Manifest) -> str:
    """Returns the model card's words on the table that a bundle learnt from."""
    facts = manifest.training["table"]
    videos = ", ".join(f"{count} {split}" for split, count in facts["videos"].items())
    columns = "\n".join(
        f"| {column} | {output} | {len(manifest.label_spaces[output])} |"
        for output, column in facts["columns"].items()
    )
    return f"""## What it learnt from

{facts["rows"]} segments of `{facts["data"]}`; videos: {videos}. Rows of the backpack are of \
{" and ".join(facts["prototypes"])}.

| column | output | labels |
|---|---|---:|
{columns}"""
