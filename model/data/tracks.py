"""Videos of a data set -> their feature tracks, extracted when they are not stored yet."""

from collections.abc import Callable, Sequence

from extract.encoder import VideoEncoder
from extract.extractor import Extractor
from extract.features import FeaturesOnly
from extract.store import FeatureStore
from extract.track import FeatureTrack
from model.cores import one_thread_per_core
from model.data.annotations import DataRoot, Split
from model.errors import FeaturesMissing


def videos_of(data: DataRoot, split: Split) -> list[str]:
    """Returns the videos a split's annotations speak of, sorted."""
    found = {record.video_uid for record in data.actions(split)}
    return sorted(found | {record.video_uid for record in data.changes(split)})


def read_tracks(
    data: DataRoot,
    videos: Sequence[str],
    store: FeatureStore,
    encoder: VideoEncoder,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> list[FeatureTrack]:
    """Returns the tracks of videos, in order; what is missing is extracted and stored.

    A stored track made by another encoder is made again.

    Raises:
        FeaturesMissing: there is no network to extract with.
    """
    extractor = Extractor(encoder)

    def read(video: str) -> FeatureTrack:
        track = store.read(video) if store.has(video) else None
        if track is None or track.encoder.fingerprint != encoder.fingerprint:
            if isinstance(encoder, FeaturesOnly):
                raise FeaturesMissing(video, encoder.name, store.root)
            track = extractor.from_file(data.videos / f"{video}.mp4", video_id=video)
            store.write(track)
        return track

    tracks = []
    with one_thread_per_core() as pool:
        for track in pool.map(read, videos):
            tracks.append(track)
            if progress:
                progress(len(tracks), len(videos))
    return tracks
