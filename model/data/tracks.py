"""Feature tracks of a data set's videos: stored, extracted where missing, or of a released set."""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from extract.cpu import one_thread_per_core
from extract.dataset.video_lists import Video
from extract.encoders.encoder import VideoEncoder
from extract.encoders.precomputed import PrecomputedFeatures
from extract.errors import ExtractError
from extract.features.extractor import Extractor
from extract.features.ids import as_id
from extract.features.pack import PackedFeatures, PackIndex, pack
from extract.features.store import SAFETENSORS, FeatureStore, StoredRows
from extract.features.track import EncoderId, FeatureTrack
from extract.features.track_check import Annotated, FeatureCheck, Needed
from model.data.annotations import DataRoot
from model.data.missing import fetch_features, fetch_videos
from model.data.samples import Tracks
from model.data.video_files import lengths_beside, locate_videos
from model.errors import FeaturesMissing, VideosUnreadable
from weights.storage.folders import Place, as_place

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with (videos done, videos in all)."""

Fact = TypeVar("Fact")


def check_of(
    data: DataRoot,
    store: FeatureStore,
    annotated: Mapping[str, Annotated],
    needed: Needed | None = None,
) -> FeatureCheck:
    """Returns the check of a data set's features by id, with the known lengths of its videos."""
    return FeatureCheck(
        needed=needed,
        lengths=by_id(data.num_frames) or lengths_beside(store.root),
        annotated=by_id(annotated),
        remedy=data.fetch_command("annotations"),
    )


def by_id(facts: Mapping[str, Fact]) -> dict[str, Fact]:
    """Returns facts by the ids of video names."""
    return {as_id(video): fact for video, fact in facts.items()}


def read_tracks(
    data: DataRoot,
    videos: Sequence[str],
    store: FeatureStore,
    encoder: VideoEncoder,
    *,
    annotated: Mapping[str, Annotated] | None = None,
    progress: Progress | None = None,
) -> list[FeatureTrack]:
    """Returns the tracks of a data set's videos, in order; see `read_files` and `load_tracks`."""
    is_released = isinstance(encoder, PrecomputedFeatures)
    return read_files(
        videos,
        store,
        encoder,
        locate=lambda todo: locate_videos(data, todo),
        check=check_of(data, store, annotated or {}, needed_by(encoder)),
        fetch=lambda gone: (
            fetch_features(data, encoder.name, known=True)
            if is_released
            else fetch_videos(data, gone)
        ),
        progress=progress,
    )


def needed_by(encoder: VideoEncoder) -> Needed:
    """Returns the width and identity that features of an encoder must have."""
    return Needed(encoder.dim, EncoderId(encoder.name, encoder.fingerprint))


def read_files(
    videos: Sequence[str],
    store: FeatureStore,
    encoder: VideoEncoder,
    *,
    locate: Callable[[Sequence[str]], Mapping[str, Video]],
    check: FeatureCheck | None = None,
    fetch: Callable[[Sequence[str]], str] = lambda _: "put their files there",
    progress: Progress | None = None,
) -> list[FeatureTrack]:
    """Returns the tracks of videos, in order; missing ones are extracted and stored.

    A stored track of another encoder is extracted again. All stored tracks are checked before
    anything is extracted.

    Args:
        videos: names of the videos.
        store: of tracks, by the ids of the names.
        encoder: of the features.
        locate: returns the files of videos to extract, by name.
        check: of every track by id; by default, that it is complete and of this encoder.
        fetch: returns the remedy for videos with neither features nor a file.
        progress: called after each track.

    Raises:
        FeaturesMissing: videos have neither; the error has all their ids.
        FeatureFileInvalid: the check refuses a stored track.
        VideosUnreadable: videos cannot be read; raised after the others are stored.
    """
    check = check or FeatureCheck(needed=needed_by(encoder))
    is_released = isinstance(encoder, PrecomputedFeatures)
    tracks: dict[str, FeatureTrack] = {}
    todo: list[str] = []

    def keep(video: str, track: FeatureTrack) -> None:
        tracks[video] = replace(track, video_id=video)
        if progress:
            progress(len(tracks), len(videos))

    for video, rows in _read_rows(store, videos):
        if rows is None or not (is_released or rows.encoder.fingerprint == encoder.fingerprint):
            todo.append(video)
        else:
            keep(video, rows.to_track(check.file(as_id(video), rows)))
    files = locate(todo) if todo else {}
    gone = [video for video in todo if is_released or not os.path.isfile(files[video].path)]
    if gone:
        sought = () if is_released else (files[gone[0]].sought,)
        raise FeaturesMissing(list(map(as_id, gone)), [store.root, *sought], fetch(gone))
    named = {files[video].id: video for video in todo}
    for id, track in extract_files([files[video] for video in todo], store, encoder, check):
        keep(named[id], track)
    check.finish()
    return [tracks[video] for video in videos]


def extract_files(
    videos: Sequence[Video], store: FeatureStore, encoder: VideoEncoder, check: FeatureCheck
) -> Iterator[tuple[str, FeatureTrack]]:
    """Yields the ids and tracks of video files, in order, each checked and then stored.

    A video that cannot be read, or whose track the check refuses, does not stop the others.

    Raises:
        VideosUnreadable: videos cannot be read; raised after the tracks of the others.
    """
    extractor = Extractor(encoder)
    failed: dict[Path, str] = {}

    def make(video: Video) -> FeatureTrack | Exception:
        try:
            return extractor.from_file(video.path, video_id=video.id, is_stereo=video.is_stereo)
        except (ExtractError, OSError) as error:
            return error

    def keep(video: Video, made: FeatureTrack | Exception) -> FeatureTrack:
        if isinstance(made, Exception):
            raise made
        check.track(video.id, f"features of {video.path}", made)
        store.write(made)
        return made

    with one_thread_per_core() as pool:
        for video, made in zip(videos, pool.map(make, videos), strict=True):
            try:
                track = keep(video, made)
            except (ExtractError, OSError) as error:
                logger.error("%s: %s", video.path, error)
                failed[video.path] = str(error)
            else:
                yield video.id, track
    if failed:
        raise VideosUnreadable(failed, len(videos))


def load_tracks(
    data: DataRoot,
    videos: Sequence[str],
    features: str | Path,
    *,
    packed_under: Path | None,
    annotated: Mapping[str, Annotated] | None = None,
    needed: Needed | None = None,
    progress: Progress | None = None,
) -> Tracks:
    """Returns the features of videos from existing files, ours or released ones.

    Args:
        data: root of named feature sets, with the lengths of its videos.
        videos: required videos.
        features: name of a feature set of the data root, or a folder or URL of feature files.
        packed_under: folder for packs: the files are read once, then memory-mapped; the result has
            all videos of the pack. None reads into memory, for small sets.
        annotated: annotated extent of each video.
        needed: width and encoder that a bundle needs.
        progress: called while files are read.

    Raises:
        FeaturesMissing: videos have no feature file; names their ids, the places searched and the
            download command.
        FeatureFileInvalid: a file is no track, differs from the others or from what is needed, or
            does not cover its video.
    """
    store, places = _find_features(data, features)
    check = check_of(data, store, annotated or {}, needed)
    ids = {video: as_id(video) for video in videos}
    try:
        if packed_under is None:
            tracks = Tracks.join(_read_all(store, ids, check, progress))
        else:
            path = packed_under / store.name
            pack(store, list(ids.values()), path, check=check, progress=progress)
    except KeyError as error:
        known = store.root == data.features(store.name)
        fetch = fetch_features(data, store.name, known=known)
        raise FeaturesMissing(error.args, places, fetch) from error
    if packed_under is not None:
        tracks = _open_pack(path, store, ids, check)
    check.finish()
    return tracks


def _open_pack(
    path: Path, store: FeatureStore, ids: Mapping[str, str], check: FeatureCheck
) -> Tracks:
    """Memory-maps a pack and repeats the checks, as lengths may have become known since."""
    index = PackIndex.read(path)
    for id in ids.values():
        known = index.videos[id]
        own = known.frames if known.source.name.endswith(SAFETENSORS) else None
        check.count(id, f"{store.root}/{known.source.name}", known.rows, own)
    packed = PackedFeatures.open(path)
    offset, rows = (
        {**places, **{video: places[id] for video, id in ids.items()}}
        for places in (packed.offset, packed.rows)
    )
    return Tracks(packed.features, offset, rows, packed.encoder)


def _find_features(data: DataRoot, features: str | Path) -> tuple[FeatureStore, list[Place]]:
    """Returns the store of the features, and every place searched."""
    place = as_place(features)
    if not isinstance(place, Path):
        return FeatureStore(place), [place]
    places = list(dict.fromkeys([data.features(str(features)), place]))
    return FeatureStore(next((p for p in places if p.is_dir()), places[0])), [*places]


def _read_all(
    store: FeatureStore, ids: Mapping[str, str], check: FeatureCheck, progress: Progress | None
) -> Iterator[FeatureTrack]:
    absent = [id for id in ids.values() if not store.has(id)]
    if absent:
        raise KeyError(*absent)
    for done, (video, rows) in enumerate(_read_rows(store, ids), 1):
        assert rows is not None
        yield replace(rows.to_track(check.file(ids[video], rows)), video_id=video)
        if progress:
            progress(done, len(ids))


def _read_rows(
    store: FeatureStore, videos: Iterable[str]
) -> Iterator[tuple[str, StoredRows | None]]:
    """Yields each video with its stored rows, None where there are none."""

    def read(video: str) -> tuple[str, StoredRows | None]:
        id = as_id(video)
        return video, store.read_rows(id, keep=True) if store.has(id) else None

    with one_thread_per_core() as pool:
        yield from pool.map(read, videos)
