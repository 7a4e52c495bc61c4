"""What can be wrong between a track and an answer.

ModelError
├── UnknownTask       a task was asked for that the bundle has no skill for
├── SegmentInvalid    a segment is empty, reversed or outside the clip
├── FeatureMismatch   the track was not made by the bundle's encoder
├── BackpackInvalid   the backpack is empty, or belongs to another backbone
├── AnnotationInvalid an annotation file is missing or not in Ego4D's layout
├── TaskInvalid       a file that describes a task of one's own is missing or wrong
└── WorldMismatch     a folder holds a made-up world of another config
"""


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


class BackpackInvalid(ModelError):
    """The backpack holds nothing, or was made by another backbone."""


class AnnotationInvalid(ModelError):
    """An annotation file is missing or malformed; the message says what was looked for."""


class TaskInvalid(ModelError):
    """A task file is missing or malformed; the message names the key and what is allowed."""


class WorldMismatch(ModelError):
    """The folder holds a made-up world of another config; the message names both."""
