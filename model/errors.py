"""What can be wrong between a track and an answer.

ModelError
├── UnknownTask       a task was asked for that the bundle has no skill for
├── SegmentInvalid    a segment is empty, reversed or outside the clip
├── SearchInvalid     the backpack cannot be searched for this
├── FeatureMismatch   the track was not made by the bundle's encoder
├── FeaturesMissing   a video of a data set has no feature file
├── BackpackInvalid   the backpack is empty, or belongs to another backbone
├── AnnotationInvalid an annotation file is missing or not in Ego4D's layout
├── TaskInvalid       a file that describes a task of one's own is missing or wrong
├── SettingInvalid    a field of the configs does not exist, or not with this value
├── ScoringRefused    a test set cannot be answered with what was given
└── WorldMismatch     a folder holds a made-up world of another config
"""

from collections.abc import Sequence
from pathlib import Path


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
    """Videos of a data set have no feature files.

    Attributes:
        videos: which.
        places: folders and URLs looked in.
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


class BackpackInvalid(ModelError):
    """The backpack holds nothing, or was made by another backbone."""


class AnnotationInvalid(ModelError):
    """An annotation file is missing or malformed; the message says what was looked for."""


class TaskInvalid(ModelError):
    """A task file is missing or malformed; the message names the key and what is allowed."""


class ScoringRefused(ModelError):
    """A test set cannot be answered with what was given; the message says what to give instead."""


class SettingInvalid(ModelError):
    """A setting from the command line names no field, or a value the field cannot have."""


class WorldMismatch(ModelError):
    """The folder holds a made-up world of another config; the message names both."""
