"""Videos of a data set -> their features: extracted where not stored yet, or a released set's."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from extract.encoder import VideoEncoder
from extract.extractor import Extractor
from extract.features import FeaturesOnly
from extract.packed import PackedFeatures
from extract.packing import pack
from extract.store import FeatureStore
from extract.track import FeatureTrack
from model.cores import one_thread_per_core
from model.data.annotations import DataRoot, Split
from model.data.samples import Tracks
from model.errors import AnnotationInvalid, FeaturesMissing
from weights.folders import Place, as_place

SUFFIXES = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")
"""Endings of the containers that are read."""


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
    """Returns the tracks of a data set's videos, in order; see `read_files`."""
    files = {video: data.videos / f"{video}.mp4" for video in videos}
    fetch = data.fetch_command(encoder.name)
    return read_files(files, store, encoder, fetch=fetch, progress=progress)


def read_files(
    files: Mapping[str, Path],
    store: FeatureStore,
    encoder: VideoEncoder,
    *,
    fetch: str = "put their files there",
    progress: Callable[[int, int], None] | None = None,
) -> list[FeatureTrack]:
    """Returns the tracks of video files, in order; what is missing is extracted and stored.

    A stored track made by another encoder is made again.

    Args:
        files: video -> its file.
        store: where tracks are kept.
        encoder: what makes them.
        fetch: what to do where there is no network to make them with.
        progress: called with (tracks read, tracks in all).

    Raises:
        FeaturesMissing: a track is missing, and there is no network to make it with.
    """
    extractor = Extractor(encoder)

    def read(video: str) -> FeatureTrack:
        track = store.read(video) if store.has(video) else None
        if track is None or track.encoder.fingerprint != encoder.fingerprint:
            if isinstance(encoder, FeaturesOnly):
                raise FeaturesMissing([video], [store.root], fetch)
            track = extractor.from_file(files[video], video_id=video)
            store.write(track)
        return track

    tracks = []
    with one_thread_per_core() as pool:
        for track in pool.map(read, files):
            tracks.append(track)
            if progress:
                progress(len(tracks), len(files))
    return tracks


def find_videos(folder: Path, videos: Sequence[str]) -> dict[str, Path]:
    """Returns the file of each video, named by it and ending as a video does.

    Raises:
        AnnotationInvalid: a video has no file, or more than one.
    """
    files = {}
    for video in videos:
        found = [p for s in SUFFIXES if (p := folder / f"{video}{s}").is_file()]
        if len(found) != 1:
            names = ", ".join(p.name for p in found) or "none"
            raise AnnotationInvalid(
                f"{folder}: expected one file named {video} with one of the endings "
                f"{' '.join(SUFFIXES)}, found {names}"
            )
        files[video] = found[0]
    return files


def load_tracks(
    data: DataRoot,
    videos: Sequence[str],
    features: str | Path,
    *,
    packed_under: Path | None,
    progress: Callable[[int, int], None] | None = None,
) -> Tracks:
    """Returns the features of videos from files made before, ours or released ones.

    Args:
        data: where a feature set of that name is looked for, and the lengths of its videos.
        videos: what must be there.
        features: name of a feature set of the data root, or a folder of feature files, or the URL
            of one.
        packed_under: folder for packs: the files are read once, then mapped; other videos that
            the pack holds come along. None reads them all into memory, for small sets.
        progress: called with (videos done, videos to do) while files are read.

    Raises:
        FeaturesMissing: a video has no feature file; says what was looked for and how to fetch it.
        FeatureFileInvalid: a file is no track, or unlike the others.
    """
    store, places = _find_features(data, features)
    try:
        if packed_under is None:
            return Tracks.join(_read_all(store, videos, progress))
        path = packed_under / store.name
        pack(store, videos, path, num_frames=data.num_frames, progress=progress)
    except KeyError as error:
        raise FeaturesMissing(error.args, places, data.fetch_command(store.name)) from error
    packed = PackedFeatures.open(path)
    return Tracks(packed.features, packed.offset, packed.rows, packed.encoder)


def _find_features(data: DataRoot, features: str | Path) -> tuple[FeatureStore, list[Place]]:
    """Returns where the features lie, and every place that was thought of."""
    place = as_place(features)
    if not isinstance(place, Path):
        return FeatureStore(place), [place]
    places = [data.features(str(features)), place]
    return FeatureStore(next((p for p in places if p.is_dir()), places[0])), [*places]


def _read_all(
    store: FeatureStore, videos: Sequence[str], progress: Callable[[int, int], None] | None
) -> Iterator[FeatureTrack]:
    absent = [video for video in videos if not store.has(video)]
    if absent:
        raise KeyError(*absent)
    for done, video in enumerate(videos, 1):
        yield store.read(video)
        if progress:
            progress(done, len(videos))
