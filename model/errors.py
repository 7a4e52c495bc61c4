"""What can be wrong between a track and an answer.

ModelError
├── UnknownTask       a task was asked for that the bundle has no skill for
├── SegmentInvalid    a segment is empty, reversed or outside the clip
├── SearchInvalid     the backpack cannot be searched for this
├── FeatureMismatch   the track was not made by the bundle's encoder
├── FeaturesMissing   a video of a data set has no feature file
├── VideosUnreadable  videos of a data set cannot be decoded, or not be found
├── BackpackInvalid   the backpack is empty, or belongs to another backbone
├── AnnotationInvalid an annotation file is missing or not in Ego4D's layout
├── TaskInvalid       a file that describes a task of one's own is missing or wrong
├── SettingInvalid    a field of the configs does not exist, or not with this value
├── ScoringRefused    a test set cannot be answered with what was given
├── Stopped           a training was asked to end, and can go on from where it stood
├── RanksWrong        the processes cannot train together as they were started
└── RanksLost         a process that trains with this one has ended
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from signal import Signals

_SHOWN = 10


class ModelError(Exception):
    """Root of everything that can go wrong from features to answers."""


class UnknownTask(ModelError):
    """A task the bundle has no skill for.

    Attributes:
        task: what was asked for.
        known: what the bundle can answer.
    """

    def __init__(self, task: str, known: tuple[str, ...]) -> None:
        super().__init__(f"unknown task {task!r}; this bundle answers {', '.join(known)}")
        self.task = task
        self.known = known


class SegmentInvalid(ModelError):
    """A segment that cannot be answered for.

    Attributes:
        index: position in the request's list.
    """

    def __init__(self, index: int, detail: str) -> None:
        super().__init__(f"segment {index}: {detail}")
        self.index = index
        self.detail = detail


class SearchInvalid(ModelError):
    """The backpack cannot be searched for this.

    Attributes:
        field: of the request, that is at fault.
        detail: one plain sentence.
    """

    def __init__(self, field: str, detail: str) -> None:
        super().__init__(f"{field}: {detail}")
        self.field = field
        self.detail = detail


class FeatureMismatch(ModelError):
    """The track was made by another encoder than the bundle's."""


class FeaturesMissing(ModelError):
    """Videos of a data set have no feature files, nor files to make them of.

    Attributes:
        videos: which.
        places: folders, URLs and files looked for.
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
        """Returns the same error with another way out."""
        return FeaturesMissing(self.videos, self.places, f"{self.remedy}. Or: {otherwise}")


class VideosUnreadable(ModelError):
    """Videos of a data set cannot be read; the others were.

    Attributes:
        failed: file -> why.
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
    """The backpack holds nothing, or was made by another backbone."""


class AnnotationInvalid(ModelError):
    """An annotation file is missing or malformed; the message says what was looked for."""


class TaskInvalid(ModelError):
    """A task file is missing or malformed; the message names the key and what is allowed."""


class ScoringRefused(ModelError):
    """A test set cannot be answered with what was given; the message says what to give instead."""


class Stopped(ModelError):
    """A signal ended a training; its checkpoint lies where the next run finds it.

    Attributes:
        signum: the signal.
    """

    def __init__(self, signum: int, label: str, step: int, total: int) -> None:
        super().__init__(
            f"stopped by {Signals(signum).name} after step {step} of {total} of {label}; run the "
            "same command again to go on, with any number of processes"
        )
        self.signum = signum


class RanksWrong(ModelError):
    """What was asked for does not go with the number of processes; the message says what does."""


class RanksLost(ModelError):
    """A process that trains with this one ended or fell silent; this one cannot go on alone."""

    def __init__(self, rank: int, size: int, detail: str) -> None:
        super().__init__(
            f"rank {rank} of {size} has lost the others: one has ended (its own message says why) "
            f"or cannot be reached ({detail}). Run the same command again to go on"
        )


class SettingInvalid(ModelError):
    """A setting from the command line names no field, or a value the field cannot have."""
