"""Videos of a data set -> their features: extracted where not stored yet, or a released set's."""

import logging
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from extract.encoder import VideoEncoder
from extract.errors import ExtractError
from extract.extractor import Extractor
from extract.features import FeaturesOnly
from extract.ids import as_id
from extract.manifest import VIDEO_SUFFIXES
from extract.packed import PackedFeatures
from extract.packing import pack
from extract.store import FeatureStore
from extract.track import FeatureTrack
from model.cores import one_thread_per_core
from model.data.annotations import DataRoot
from model.data.samples import Tracks
from model.errors import AnnotationInvalid, FeaturesMissing, VideosUnreadable
from weights.folders import Place, as_place

logger = logging.getLogger(__name__)


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
    """Returns the tracks of video files, in order; see `each_track`.

    Args:
        files: video -> its file.
        store: where tracks are kept.
        encoder: what makes them.
        fetch: what to do where there is no network to make them with.
        progress: called with (tracks read, tracks in all).
    """
    tracks = []
    for track in each_track(files, store, encoder, fetch=fetch):
        tracks.append(track)
        if progress:
            progress(len(tracks), len(files))
    return tracks


def each_track(
    files: Mapping[str, Path],
    store: FeatureStore,
    encoder: VideoEncoder,
    *,
    fetch: str = "put their files there",
) -> Iterator[FeatureTrack]:
    """Yields the tracks of video files, in order; what is missing is extracted and stored.

    A stored track made by another encoder is made again. A video that cannot be read does not keep
    the others from being extracted.

    Args:
        files: video, of any name -> its file.
        store: where tracks are kept, by the ids of the names.
        encoder: what makes them.
        fetch: what to do where there is no network to make them with.

    Raises:
        FeaturesMissing: a track is missing, and there is no network to make it with.
        VideosUnreadable: videos cannot be read; after the tracks of the others.
    """
    extractor = Extractor(encoder)
    failed: dict[str, str] = {}

    def read(video: str) -> FeatureTrack | None:
        id = as_id(video)
        track = store.read(id) if store.has(id) else None
        if track is None or track.encoder.fingerprint != encoder.fingerprint:
            if isinstance(encoder, FeaturesOnly):
                raise FeaturesMissing([id], [store.root], fetch)
            try:
                track = extractor.from_file(files[video], video_id=id)
                store.write(track)
            except (ExtractError, OSError) as error:
                logger.error("%s: %s", files[video], error)
                failed[video] = str(error)
                return None
        return replace(track, video_id=video)

    with one_thread_per_core() as pool:
        yield from (track for track in pool.map(read, files) if track is not None)
    if failed:
        ordered = {files[video]: failed[video] for video in files if video in failed}
        raise VideosUnreadable(ordered, len(files))


def find_videos(folder: Path, videos: Sequence[str]) -> dict[str, Path]:
    """Returns the file of each video, named by it and ending as a video does.

    Where no file is named so, one will do whose name only spells its letters in another way
    (composed or decomposed).

    Raises:
        AnnotationInvalid: a video has no file, or more than one.
    """
    there: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir() if folder.is_dir() else ()):
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
            for name in {path.stem, _composed(path.stem)}:
                there.setdefault(name, []).append(path)
    files = {}
    for video in videos:
        found = there.get(video) or there.get(_composed(video), [])
        found = [path for path in found if path.stem == video] or found
        if len(found) != 1:
            names = ", ".join(p.name for p in found) or "none"
            raise AnnotationInvalid(
                f"{folder}: expected one file named {video} with one of the endings "
                f"{' '.join(VIDEO_SUFFIXES)}, found {names}"
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
    ids = {video: as_id(video) for video in videos}
    try:
        if packed_under is None:
            return Tracks.join(_read_all(store, ids, progress))
        path = packed_under / store.name

        def lengths() -> dict[str, int]:
            return {as_id(video): frames for video, frames in data.num_frames().items()}

        pack(store, list(ids.values()), path, num_frames=lengths, progress=progress)
    except KeyError as error:
        raise FeaturesMissing(error.args, places, data.fetch_command(store.name)) from error
    packed = PackedFeatures.open(path)
    offset, rows = (
        {**known, **{video: known[id] for video, id in ids.items()}}
        for known in (packed.offset, packed.rows)
    )
    return Tracks(packed.features, offset, rows, packed.encoder)


def _find_features(data: DataRoot, features: str | Path) -> tuple[FeatureStore, list[Place]]:
    """Returns where the features lie, and every place that was thought of."""
    place = as_place(features)
    if not isinstance(place, Path):
        return FeatureStore(place), [place]
    places = [data.features(str(features)), place]
    return FeatureStore(next((p for p in places if p.is_dir()), places[0])), [*places]


def _read_all(
    store: FeatureStore, ids: Mapping[str, str], progress: Callable[[int, int], None] | None
) -> Iterator[FeatureTrack]:
    absent = [id for id in ids.values() if not store.has(id)]
    if absent:
        raise KeyError(*absent)
    for done, (video, id) in enumerate(ids.items(), 1):
        yield replace(store.read(id), video_id=video)
        if progress:
            progress(done, len(ids))


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)
