"""Items of the unannotated test files that a challenge file must answer, in file order."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from model.data.annotations import VERSIONS, DataRoot, Split
from model.data.records import ActionRecord, SplitRecords, group_by_clip
from model.errors import AnnotationInvalid
from model.tasks import LTA, OSCC, PNR

CHALLENGES = (LTA.name, OSCC.name, PNR.name)
"""The tasks with a challenge file; action recognition has no test split."""

NUM_STEPS = LTA.num_future
"""Future actions to predict, Z."""

FIRST_OBSERVED = 8
"""Actions observed by the first window of a clip: a test instance shows 8 and wants 20 more."""


@dataclass(frozen=True)
class ChallengeItem:
    """One entry of a challenge file.

    Attributes:
        id: the segment's `unique_id`, or `<clip_uid>_<action_idx>` of the last observed action.
        video_uid: the video.
        segments: (first frame, frame after the last) in the full video, oldest first. LTA: every
            action of the clip up to the last observed one; else the one segment.
    """

    id: str
    video_uid: str
    segments: tuple[tuple[int, int], ...]

    @property
    def length_frames(self) -> int:
        """Frames of the last segment."""
        start, end = self.segments[-1]
        return end - start


@dataclass(frozen=True)
class AnnotationFolder(DataRoot):
    """A flat folder of annotation files: those of all splits lie in `root` itself."""

    @property
    def annotations(self) -> Path:
        return self.root

    def _file(self, stem: str, split: Split) -> Path:
        return self.root / f"{stem}_{split}.json"


def open_annotations(path: Path, version: str | None = None) -> DataRoot:
    """Returns the annotations of a folder of JSON files, or below the data root that `path` is.

    A folder `annotations` in `v1` or `v2` stands for the data root above, which has more files.

    Args:
        path: the folder.
        version: of a root's annotations; None takes v1 where it exists, else v2.

    Raises:
        AnnotationInvalid: it is neither; the message names the files searched.
    """
    if any(path.glob("fho_*.json")):
        place = path.absolute()
        if (place.name, place.parent.name) in (("annotations", known) for known in VERSIONS):
            return DataRoot(place.parent.parent, place.parent.name)
        return AnnotationFolder(path)
    try:
        return DataRoot.find(path, version)
    except AnnotationInvalid as error:
        names = "fho_lta_test_unannotated.json or fho_oscc-pnr_test_unannotated.json"
        raise AnnotationInvalid(f"{path} itself holds no {names}, and as a root {error}") from error


def read_items(data: DataRoot, task: str, *, observed: int = FIRST_OBSERVED) -> list[ChallengeItem]:
    """Returns all items of a task's challenge file; see `items_of`.

    Raises:
        AnnotationInvalid: a file is missing or malformed, an id appears twice, or a segment is
            empty.
    """
    return items_of(data.read("test_unannotated", [task]), task, observed=observed)


def items_of(
    records: SplitRecords, task: str, *, observed: int = FIRST_OBSERVED
) -> list[ChallengeItem]:
    """Returns a task's items for the records of the unannotated test files.

    Args:
        records: of the files, read for this task among others.
        task: "lta", "oscc" or "pnr".
        observed: actions observed by LTA's first window of a clip; the last has 20 left. 8 gives
            the indices 7 to n - 21 that entrants' checks expect; fewer begin earlier.
    """
    if task == LTA.name:
        return list(_windows(records.actions, observed))
    return [
        ChallengeItem(r.unique_id, r.video_uid, ((r.start_frame, r.end_frame),))
        for r in records.changes
    ]


def _windows(actions: list[ActionRecord], observed: int) -> Iterator[ChallengeItem]:
    for clip in group_by_clip(actions):
        records = [actions[p] for p in clip]
        bounds = tuple((r.start_frame, r.end_frame) for r in records)
        for last in range(observed - 1, len(records) - NUM_STEPS):
            record = records[last]
            yield ChallengeItem(window_id(record), record.video_uid, bounds[: last + 1])


def window_id(last: ActionRecord) -> str:
    """Returns the key of an LTA window from its last observed action."""
    return f"{last.clip_uid}_{last.action_idx}"
