"""Samples of an evaluation from a data set by name: what bundle and table have in common."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from extract.features.store import FeatureStore
from model.data.samples import Samples, Tracks
from model.data.tables.features import (
    features_folder,
    last_ends,
    own_tracks,
    slack_of,
    within_videos,
)
from model.data.tables.kinds import load_table
from model.data.tables.label_file import Split
from model.data.tables.rare import OTHER, treat_rare
from model.data.tables.samples import Labels, nominal_frames, row_frames, table_samples
from model.data.tables.splits import split_by_video
from model.data.tables.table import SegmentTable
from model.data.tables.tasks import name_outputs, with_names
from model.data.video_files import find_table_videos
from model.errors import AnnotationInvalid
from model.evaluate.options import EvaluateOptions, ScoredSplit
from model.predict.predictor import Predictor
from model.tasks import AR, LTA, Readout, TaskSpec
from weights.storage.folders import Place, as_place

NAMED = 5
"""Unknown labels that a note names."""


@dataclass(frozen=True, eq=False)
class TableSource:
    """Source of the samples of an evaluation on a data set by name.

    Attributes:
        spec: `KIND:ROOT`.
        predictor: with the tasks to score.
        table: with splits, and with columns called as the bundle's outputs.
        specs: task -> its row of the task table, of the tasks that can be scored.
        videos: folder of the videos; None reads stored features alone.
        features: folder or URL of features.
    """

    spec: str
    predictor: Predictor
    table: SegmentTable
    specs: Mapping[str, TaskSpec]
    videos: Path | None
    features: Place

    @classmethod
    def open(cls, predictor: Predictor, options: EvaluateOptions) -> "TableSource":
        """Reads the table and treats it as the bundle's training did.

        Raises:
            AnnotationInvalid: the table is malformed, or has no label of any task of the bundle.
        """
        spec, training = str(options.data), predictor.manifest.training
        facts: dict[str, Any] = training.get("table", {})
        learnt = {column: name for name, column in facts.get("columns", {}).items()}
        table = load_table(spec, fps=options.fps, overlaps=options.overlaps)
        names = {c: learnt.get(c) or name_outputs([c])[c] for c in table.outputs}
        spaces = predictor.manifest.label_spaces
        shared = [column for column, name in names.items() if name in spaces]
        specs = {
            task: spec
            for task, spec in predictor.skills.specs.items()
            if spec.readout in (Readout.CENTRE, Readout.FUTURE)
            and set(spec.outputs) <= {names[column] for column in shared}
        }
        if not specs:
            raise AnnotationInvalid(
                f"{table.source} has labels of {', '.join(table.outputs)}, and this bundle answers "
                f"{', '.join(predictor.tasks)}: nothing to score"
            )
        table = with_names(table.only(shared), names)
        table = split_by_video(table, seed=int(training.get("seed", 0)))
        if facts.get("rare") in ("merge", "drop"):
            table = treat_rare(table, facts["rare"], below=facts.get("rare_below"))
        features = options.features or features_folder(
            Path("work") / predictor.name, predictor.encoder
        )
        known = _with_known_labels(table, spaces)
        return cls(spec, predictor, known, specs, options.videos, as_place(features))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of the table."""
        return self.table.notes

    @property
    def splits(self) -> list[ScoredSplit]:
        """The splits with rows, train aside."""
        there = set((self.table.split or {}).values())
        both: tuple[ScoredSplit, ...] = ("val", "test")
        return [split for split in both if split in there]

    def of_training(self) -> dict[str, Samples]:
        """Returns the training samples without features, for the label-only baselines.

        AR's are added to LTA's, whose baseline counts actions.
        """
        also = {AR.name: AR} if LTA.name in self.specs else {}
        return self._unread("train", {**also, **self.specs})

    def of_split(self, split: Split) -> tuple[dict[str, Samples], list[str]]:
        """Returns a split's samples of every task that has labels, and no video: none is left out.

        Raises:
            AnnotationInvalid: no task has a label, videos are missing, or rows end after theirs.
            ExtractError: features or videos cannot be read.
        """
        unread = self._unread(split, self.specs)
        scored = {t: spec for t, spec in self.specs.items() if not unread[t].hidden}
        if not scored:
            raise AnnotationInvalid(
                f"{split} has no labelled sample of {', '.join(self.specs)}: nothing to score"
            )
        table, encoder = self.table, self.predictor.encoder
        ends = {v: s for v, s in last_ends(table).items() if (table.split or {})[v] == split}
        with tqdm(total=len(ends), desc=f"features {split}", unit="video") as bar:

            def advance(*_: int) -> None:
                bar.update()

            tracks = own_tracks(
                encoder,
                ends,
                FeatureStore(self.features),
                self.videos,
                lambda folder, missing: find_table_videos(folder, table, missing),
                progress=advance,
            )
        table = within_videos(table, tracks, slack_s=slack_of(self.spec, encoder))
        frames = row_frames(table, tracks)
        joined = Tracks.join(tracks)
        return table_samples(table, split, scored, self._labels, frames, joined), []

    def _unread(self, split: Split, specs: Mapping[str, TaskSpec]) -> dict[str, Samples]:
        unread, frames = Tracks.unread(self.table.videos), nominal_frames(self.table)
        return table_samples(self.table, split, specs, self._labels, frames, unread)

    @property
    def _labels(self) -> Labels:
        return self.predictor.manifest.label_spaces


def _with_known_labels(table: SegmentTable, spaces: Labels) -> SegmentTable:
    """The table with labels that the bundle does not know merged to "other", as in training.

    Where the bundle has no such label they stay; they have no id, so they are not scored.
    """
    labels, notes = dict(table.labels), list(table.notes)
    for name, values in table.labels.items():
        known = set(spaces[name])
        strange = Counter(v for v in values if v is not None and v not in known)
        if not strange:
            continue
        if OTHER in known:
            labels[name] = tuple(OTHER if v in strange else v for v in values)
            continue
        shown = ", ".join(map(repr, sorted(strange)[:NAMED]))
        more = f" and {len(strange) - NAMED} more" if len(strange) > NAMED else ""
        notes.append(
            f"the bundle knows no {name} {shown}{more}: {strange.total()} labels are not scored"
        )
    return replace(table, labels=labels, notes=tuple(notes))
