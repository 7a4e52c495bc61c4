"""Exceptions of the model package.

ModelError
├── UnknownTask       the bundle has no skill for a requested task
├── SegmentInvalid    a segment is empty, reversed or outside the clip
├── SearchInvalid     a query cannot be searched for in the backpack
├── FeatureMismatch   a track is of another encoder than the bundle's
├── FeaturesMissing   a video of a data set has no feature file
├── VideosUnreadable  videos of a data set cannot be decoded, or are missing
├── BackpackInvalid   the backpack is empty, or belongs to another backbone
├── AnnotationInvalid an annotation file is missing or not in its data set's layout
│   └── LabelsInvalid  labels are wrong; has a place for each
├── TaskInvalid       the file of a user-defined task is missing or malformed
├── SettingInvalid    a config has no such field, or the value is out of its range
├── ScoringRefused    a test set cannot be answered with the given inputs
├── Stopped           a signal ended a training, which can be resumed
├── RanksWrong        the device does not suit the number of processes
└── RanksLost         another rank ended or cannot be reached
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import Signals

_SHOWN = 10


class ModelError(Exception):
    """Root of the exceptions of the model package."""


class UnknownTask(ModelError):
    """The bundle has no skill for a requested task.

    Attributes:
        task: requested.
        known: tasks of the bundle.
    """

    def __init__(self, task: str, known: tuple[str, ...]) -> None:
        super().__init__(f"unknown task {task!r}; this bundle answers {', '.join(known)}")
        self.task = task
        self.known = known


class SegmentInvalid(ModelError):
    """A segment is empty, reversed or outside the clip.

    Attributes:
        index: position in the request's list.
    """

    def __init__(self, index: int, detail: str) -> None:
        super().__init__(f"segment {index}: {detail}")
        self.index = index
        self.detail = detail


class SearchInvalid(ModelError):
    """A query cannot be searched for in the backpack.

    Attributes:
        field: of the request.
        detail: one sentence.
    """

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}")
        self.field = field
        self.detail = detail


class FeatureMismatch(ModelError):
    """A track is of another encoder than the bundle's."""


class FeaturesMissing(ModelError):
    """Videos of a data set have no feature files, nor video files to extract them from.

    Attributes:
        videos: without features.
        places: folders, URLs and files that were searched.
        remedy: what to do about it.
    """

    def __init__(self, videos: Sequence[str], places: Sequence[Path | str], fetch: str) -> None:
        looked = " and ".join(str(place) for place in places)
        more = f" and {len(videos) - 1} more" if len(videos) > 1 else ""
        super().__init__(
            f"no feature file of video {videos[0]}{more}: looked for "
            f"{videos[0]}.pt, .pth or .safetensors in {looked}. To fetch them: {fetch}"
        )
        self.videos = tuple(videos)
        self.places = tuple(places)
        self.remedy = fetch

    def advising(self, otherwise: str) -> "FeaturesMissing":
        """Returns the same error with a second remedy."""
        return FeaturesMissing(self.videos, self.places, f"{self.remedy}. Or: {otherwise}")


class VideosUnreadable(ModelError):
    """Videos of a data set cannot be read; the others were.

    Attributes:
        failed: file -> reason.
    """

    def __init__(self, failed: Mapping[Path, str], total: int) -> None:
        lines = [f"{path}: {why}" for path, why in failed.items()]
        more = [f"... and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
        super().__init__(
            f"{len(failed)} of {total} videos cannot be read; the others are done:\n  "
            + "\n  ".join(lines[:_SHOWN] + more)
        )
        self.failed = dict(failed)


class BackpackInvalid(ModelError):
    """The backpack is empty, or of another backbone."""


class AnnotationInvalid(ModelError):
    """An annotation file is missing or malformed; the message says what was expected."""


class LabelsInvalid(AnnotationInvalid):
    """Labels of a user-defined task are wrong.

    Attributes:
        errors: (place, message) pairs; a place is a JSON pointer (`/labels/3/end_s`) or, of a CSV
            file, a line (`line 4`).
    """

    def __init__(self, errors: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{place}: {message}" for place, message in errors))
        self.errors = tuple(errors)


class TaskInvalid(ModelError):
    """A task file is missing or malformed; the message names the key and what is allowed."""


class ScoringRefused(ModelError):
    """A test set cannot be answered with the given inputs; the message says which are needed."""


class Stopped(ModelError):
    """A signal ended a training, after its checkpoint was saved.

    Attributes:
        signum: number of the signal.
    """

    def __init__(self, signum: int, label: str, step: int, total: int) -> None:
        super().__init__(
            f"stopped by {Signals(signum).name} after step {step} of {total} of {label}; run the "
            "same command again to go on, with any number of processes"
        )
        self.signum = signum


class RanksWrong(ModelError):
    """The device does not suit the number of processes; the message says which does."""


class RanksLost(ModelError):
    """Another rank ended or cannot be reached, so this one cannot continue."""

    def __init__(self, rank: int, size: int, detail: str) -> None:
        super().__init__(
            f"rank {rank} of {size} has lost the others: one has ended (its own message says why) "
            f"or cannot be reached ({detail}). Run the same command again to go on"
        )


class SettingInvalid(ModelError):
    """A setting names a field that does not exist, or a value out of its range."""
