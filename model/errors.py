"""What can be wrong between a track and an answer.

ModelError
├── UnknownTask       a task was asked for that the bundle has no skill for
├── SegmentInvalid    a segment is empty, reversed or outside the clip
├── FeatureMismatch   the track was not made by the bundle's encoder
├── FeaturesMissing   a video has no features, and the bundle no encoder to make them
├── BackpackInvalid   the backpack is empty, or belongs to another backbone
├── AnnotationInvalid an annotation file is missing or not in Ego4D's layout
└── WorldMismatch     a folder holds a made-up world of another config
"""

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


class FeatureMismatch(ModelError):
    """The track was made by another encoder than the bundle's."""


class FeaturesMissing(ModelError):
    """A video has no stored features, and the bundle holds no encoder to make them."""

    def __init__(self, video: str, features: str, folder: Path) -> None:
        super().__init__(
            f"no {features} features of video {video} in {folder}, and this bundle has no encoder "
            f"to make them. For Ego4D: ego4d --datasets {features}"
        )


class BackpackInvalid(ModelError):
    """The backpack holds nothing, or was made by another backbone."""


class AnnotationInvalid(ModelError):
    """An annotation file is missing or malformed; the message says what was looked for."""


class WorldMismatch(ModelError):
    """The folder holds a made-up world of another config; the message names both."""
