"""Videos of a data set without features: download commands, or their samples left out."""

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
"""Samples of videos without features end the command, or are left out."""

LEFT_OUT = "videos_without_features"
"""Key of manifests and results for the videos whose samples are left out."""

MOST_NAMED = 20
"""Limit of videos named in a download command; for more, it fetches all annotated videos."""


def fetch_features(data: DataRoot, name: str, *, known: bool = False) -> str:
    """Returns the command that fetches a feature set.

    Args:
        data: root to download to.
        name: of the set; for an unknown name, such as a folder's, the paper's set is fetched.
        known: the name is that of a set.
    """
    return data.fetch_command(name if known or name in MADE_BY else FEATURES)


def fetch_videos(data: DataRoot, videos: Sequence[str]) -> str:
    """Returns the command that fetches full videos; many videos give one for all annotated ones."""
    return data.fetch_command(FULL_VIDEOS, videos=videos if len(videos) <= MOST_NAMED else ())


def with_missing(
    load: Callable[[Sequence[str]], Tracks], splits: Sequence[Sequence[str]], missing: Missing
) -> tuple[Tracks, frozenset[str]]:
    """Returns the features of the videos of some splits, and the videos without any.

    Args:
        load: returns the features of videos.
        splits: videos of each split.
        missing: "skip" leaves out videos without features.

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
