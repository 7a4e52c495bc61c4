"""Features of labelled videos: stored ones, the others extracted; rows cut to their video."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from extract.dataset.video_lists import Video
from extract.encoders.encoder import VideoEncoder
from extract.encoders.precomputed import PrecomputedFeatures
from extract.features.ids import as_id
from extract.features.store import FeatureStore
from extract.features.track import FeatureTrack
from extract.features.track_check import Annotated, FeatureCheck
from model.data.tables.table import SegmentTable
from model.data.tracks import Progress, needed_by, read_files
from model.data.video_files import lengths_beside
from model.errors import AnnotationInvalid, FeaturesMissing

OWN_KIND = "table"
"""Kind of the tables that people make themselves."""

FindVideos = Callable[[Path, Sequence[str]], Mapping[str, Video]]
"""Returns the files of videos below a folder, by name."""


def own_tracks(
    encoder: VideoEncoder,
    ends_s: Mapping[str, float],
    store: FeatureStore,
    folder: Path | None,
    find: FindVideos,
    *,
    progress: Progress | None = None,
) -> list[FeatureTrack]:
    """Returns the tracks of labelled videos, in order; missing ones are extracted and stored.

    Args:
        encoder: of the features.
        ends_s: video -> end of its last label, in seconds.
        store: of tracks; without a folder of videos it must have all.
        folder: of the videos.
        find: returns their files.
        progress: called after each track.

    Raises:
        AnnotationInvalid: features are missing and there is no folder, or a video has no file.
        ExtractError: a stored track or a video cannot be read.
    """
    fps = encoder.contract.fps
    check = FeatureCheck(
        needed=needed_by(encoder),
        lengths=lengths_beside(store.root, folder),
        annotated={as_id(v): Annotated(0, round(end_s * fps), "") for v, end_s in ends_s.items()},
        contract=encoder.contract,
    )

    def locate(missing: Sequence[str]) -> Mapping[str, Video]:
        if folder is None:
            raise AnnotationInvalid(
                f"{len(missing)} of {len(ends_s)} videos have no features of the encoder "
                f"{encoder.name} in {store.root}, {missing[0]} first: name the folder of the "
                "videos with --videos"
            )
        return find(folder, missing)

    return read_files(list(ends_s), store, encoder, locate=locate, check=check, progress=progress)


def features_folder(work: Path, encoder: VideoEncoder) -> Path:
    """Returns where a run keeps the features that an encoder makes."""
    return work / "features" / f"{as_id(encoder.name)}-{encoder.fingerprint[:12]}"


def slack_of(spec: str, encoder: VideoEncoder) -> float:
    """Returns how much later than its video a row may end, in seconds: a window.

    Rows of `OWN_KIND` may not: they are about these very files.
    """
    is_own = spec.partition(":")[0] == OWN_KIND
    return 0.0 if is_own else encoder.contract.window_frames / encoder.contract.fps


def last_ends(table: SegmentTable) -> dict[str, float]:
    """Returns the end of each video's last row, in seconds."""
    ends: dict[str, float] = {}
    for name, end_s in zip(table.video, table.end_s.tolist(), strict=True):
        ends[name] = max(end_s, ends.get(name, 0.0))
    return ends


def stored_encoder(store: FeatureStore, videos: Sequence[str]) -> PrecomputedFeatures:
    """Returns what made the stored features of videos, as the first file has it.

    Raises:
        FeaturesMissing: videos have no file.
        FeatureFileInvalid: the first file is not a track.
    """
    gone = [as_id(video) for video in videos if not store.has(as_id(video))]
    if gone:
        raise FeaturesMissing(gone, [store.root], "name the videos and an encoder: --videos DIR "
                              "--encoder NAME")  # fmt: skip
    rows = store.read_rows(as_id(videos[0]))
    return PrecomputedFeatures(rows.encoder.name, rows.features.shape[1], rows.encoder.fingerprint)


def within_videos(
    table: SegmentTable, tracks: Sequence[FeatureTrack], *, slack_s: float = 0.0
) -> SegmentTable:
    """Returns the table with rows that end a little after their video cut to its end.

    Args:
        table: of any data set.
        tracks: of its videos; rows of others stay as they are.
        slack_s: how much later a row may end; published sets count frames in other ways.

    Raises:
        AnnotationInvalid: rows end later than that; names them all.
    """
    ends = {track.video_id: track.video_end_s for track in tracks}
    last = np.array([ends.get(name, np.inf) for name in table.video])
    is_close = (table.end_s <= last + slack_s) & (table.start_s < last)
    cut = replace(table, end_s=np.where(is_close, np.minimum(table.end_s, last), table.end_s))
    cut.check_ends(ends)
    return cut
