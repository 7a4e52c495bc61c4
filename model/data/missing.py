"""Videos of a data set that have no features: how to fetch them, or to do without."""

import logging
from collections.abc import Callable, Sequence
from typing import Literal

from extract.dataset.client_layout import FULL_VIDEOS
from extract.encoders.precomputed import MADE_BY
from extract.features.ids import as_id
from model.data.annotations import FEATURES, DataRoot
from model.data.samples import Tracks
from model.errors import FeaturesMissing

logger = logging.getLogger(__name__)

Missing = Literal["refuse", "skip"]
"""What becomes of samples whose video has no features: the command ends, or they are left out."""

LEFT_OUT = "videos_without_features"
"""Under which name manifests and results list the videos whose samples do not count."""

MOST_NAMED = 20
"""Videos that a command names one by one; of more, all that the annotations need are fetched."""


def fetch_features(data: DataRoot, name: str, *, known: bool = False) -> str:
    """Returns the command that fetches a feature set.

    Args:
        data: where to.
        name: of the set. Where that is only the name of a folder, the paper's set is fetched.
        known: it is the name of a set.
    """
    return data.fetch_command(name if known or name in MADE_BY else FEATURES)


def fetch_videos(data: DataRoot, videos: Sequence[str]) -> str:
    """Returns the command that fetches full videos, or all of the annotations if they are many."""
    return data.fetch_command(FULL_VIDEOS, videos=videos if len(videos) <= MOST_NAMED else ())


def with_missing(
    load: Callable[[Sequence[str]], Tracks], splits: Sequence[Sequence[str]], missing: Missing
) -> tuple[Tracks, frozenset[str]]:
    """Returns the features of the videos of some splits, and which videos have none.

    Args:
        load: returns the features of videos.
        splits: which videos each has.
        missing: "skip" does without those that have none.

    Raises:
        FeaturesMissing: some have none and that is refused, or all of a split have none.
    """
    videos = sorted(set().union(*splits))
    try:
        return load(videos), frozenset()
    except FeaturesMissing as error:
        absent = frozenset(error.videos)
        gone = frozenset(video for video in videos if as_id(video) in absent)
        if missing == "refuse":
            raise error.advising("--missing skip leaves out their samples") from error
        if any(split and gone.issuperset(split) for split in splits):
            raise
        return load([video for video in videos if video not in gone]), gone


def say_left_out(videos: Sequence[str]) -> None:
    """Warns of the videos whose samples are left out, by name."""
    logger.warning(
        "%d videos have no features, their samples are left out: %s",
        len(videos),
        ", ".join(videos),
    )
