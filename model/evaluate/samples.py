"""Samples of an evaluation: labelled ones with features, and the training labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from extract.features.store import FeatureStore
from extract.features.track_check import Annotated
from model.data.annotations import DataRoot, Split
from model.data.missing import Missing, say_left_out, with_missing
from model.data.records import SplitRecords, annotated_in
from model.data.samples import Samples, Tracks
from model.data.task_samples import Enumeration, split_samples
from model.data.tracks import Progress, load_tracks, needed_by, read_tracks
from model.errors import AnnotationInvalid
from model.evaluate.options import EvaluateOptions, ScoredSplit
from model.predict.predictor import Predictor
from model.tasks import AR, LTA, TASKS


@dataclass(frozen=True, eq=False)
class SampleSource:
    """Source of the samples of an evaluation.

    Attributes:
        predictor: with the tasks to score.
        data: the annotations.
        lta_windows: enumeration of LTA windows.
        features: name of a feature set of the data root, or a folder or URL of one; None takes the
            set of the bundle's encoder and extracts what is missing.
        packed_under: folder where `features` are packed into a mapped file; None packs nothing.
        missing: whether samples of videos without features are refused.
    """

    predictor: Predictor
    data: DataRoot
    lta_windows: Enumeration
    features: str | None = None
    packed_under: Path | None = None
    missing: Missing = "refuse"

    @classmethod
    def open(
        cls, predictor: Predictor, options: EvaluateOptions, lta_windows: Enumeration
    ) -> "SampleSource":
        """Finds the data root and checks that its taxonomy is the bundle's.

        Raises:
            AnnotationInvalid: there is none, or labels have other ids.
        """
        assert isinstance(options.data, Path)
        data = DataRoot.find(options.data, options.version)
        _check_taxonomy(predictor, data)
        return cls(
            predictor,
            data,
            lta_windows,
            features=options.features,
            packed_under=options.packed_under,
            missing=options.missing or "refuse",
        )

    @property
    def splits(self) -> list[ScoredSplit]:
        """The splits with labels: those of Ego4D's test are not published."""
        return ["val", "test"] if (self.data.root / "hidden").is_dir() else ["val"]

    @property
    def notes(self) -> list[str]:
        """What a user should know of the splits."""
        if "test" in self.splits:
            return []
        return ["the truth of test is not there (Ego4D keeps it): val alone is scored"]

    def of_training(self) -> dict[str, Samples]:
        """Returns the training samples without features, for the label-only baselines.

        AR's are added to LTA's, whose baseline counts actions.
        """
        tasks = self._tasks
        also = [AR.name] if LTA.name in tasks and AR.name not in tasks else []
        return self._unread(self.data.read("train", [*tasks, *also]))

    def of_split(self, split: Split) -> tuple[dict[str, Samples], list[str]]:
        """Returns a split's samples of every task that has labels, and videos without features.

        All features are checked here.

        Raises:
            AnnotationInvalid: a file is missing or malformed, or no task has a label.
            FeaturesMissing: videos have no features and that is refused, or all have none.
            FeatureFileInvalid: features are damaged, or not those of the bundle and the video.
            VideosUnreadable: videos cannot be read; the others have their features.
        """
        records = self.data.read(split, self._tasks)
        scored = self._labelled(records, split)
        annotated = annotated_in(records)
        with tqdm(total=len(annotated), desc=f"features {split}", unit="video") as bar:

            def advance(*_: object) -> None:
                bar.update()

            def load(videos: Sequence[str]) -> Tracks:
                return self._tracks(videos, annotated, advance)

            tracks, gone = with_missing(load, [list(annotated)], self.missing)
        if gone:
            say_left_out(sorted(gone))
            records = records.without(gone)
            scored = self._labelled(records, split)
        everything = split_samples(records, tracks, enumeration=self.lta_windows)
        return {task: everything[task] for task in scored}, sorted(gone)

    @property
    def _tasks(self) -> list[str]:
        return [task for task in TASKS if task in self.predictor.tasks]

    def _unread(self, records: SplitRecords) -> dict[str, Samples]:
        """Samples with labels and no features."""
        return split_samples(records, Tracks.unread(records.videos), enumeration=self.lta_windows)

    def _labelled(self, records: SplitRecords, split: Split) -> list[str]:
        """The tasks with labels, at least one."""
        scored = [task for task, found in self._unread(records).items() if not found.hidden]
        if not scored:
            raise AnnotationInvalid(
                f"{split} has no labelled sample of {', '.join(self.predictor.tasks)}: "
                "nothing to score"
            )
        return scored

    def _tracks(
        self, videos: Sequence[str], annotated: Mapping[str, Annotated], progress: Progress
    ) -> Tracks:
        """Features from files, or extracted by the bundle's encoder."""
        encoder = self.predictor.encoder
        if self.features is None:
            name = "-".join(filter(None, (encoder.name, encoder.fingerprint[:12])))
            store = FeatureStore(self.data.features(name))
            return Tracks.join(
                read_tracks(
                    self.data, videos, store, encoder, annotated=annotated, progress=progress
                )
            )
        return load_tracks(
            self.data,
            videos,
            self.features,
            packed_under=self.packed_under,
            annotated=annotated,
            needed=needed_by(encoder),
            progress=progress,
        )


def _check_taxonomy(predictor: Predictor, data: DataRoot) -> None:
    """Checks that label ids have the same names in the bundle and in the data."""
    known = predictor.manifest.label_spaces
    for space, names in data.taxonomy.items():
        ours = known.get(space, names)
        if len(ours) != len(names):
            raise AnnotationInvalid(
                f"{data.annotations} has {len(names)} {space}s, this bundle knows {len(ours)}: it "
                "learnt from another version of the data; choose that with --version"
            )
        place = next((i for i, name in enumerate(names) if name != ours[i]), None)
        if place is not None:
            raise AnnotationInvalid(
                f"{data.annotations}: {space} {place} is {names[place]!r} in fho_lta_taxonomy.json "
                f"and {ours[place]!r} in this bundle: it learnt from another taxonomy"
            )
