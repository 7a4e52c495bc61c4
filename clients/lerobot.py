"""LeRobot data sets (v3): episodes cut from their videos, and sub-tasks written beside their rows.

Read: `meta/info.json`, `meta/episodes/**.parquet`, `data/**.parquet`, videos of one camera.
Written: `subtask_index` in every row of `data`, `meta/subtasks.parquet`, the feature in
`meta/info.json`. Videos are linked. Needs the extra `parquet`.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from clients.output.parquet import pyarrow
from clients.results.predictions import PredictionResult

INDEX = "subtask_index"
NAME = "subtask"
NONE = -1
"""Index of a row without a sub-task."""

_VERSION = "v3."


@dataclass(frozen=True)
class Episode:
    """One episode, and where its pictures are.

    Attributes:
        index: of the episode.
        video: file that holds it, among others.
        start_s: its first picture in the file.
        end_s: the end of its last one.
    """

    index: int
    video: Path
    start_s: float
    end_s: float

    @property
    def name(self) -> str:
        """Name of its clip and of its answer."""
        return f"episode_{self.index:06d}.mkv"


class LeRobotDataset:
    """A data set on disk.

    Attributes:
        root: its folder.
        camera: key of the video that is looked at.
        fps: rows a second.
    """

    def __init__(self, root: Path, camera: str | None = None) -> None:
        """Reads `meta/info.json`.

        Args:
            root: of the data set.
            camera: key of a video, such as observation.images.wrist; None: the only one.

        Raises:
            ValueError: it is of another version, or there is no such camera, or it is not clear
                which one.
            OSError: it cannot be read.
        """
        self.root = root
        try:
            self._info = json.loads((root / "meta" / "info.json").read_bytes())
            version, features = str(self._info["codebase_version"]), self._info["features"]
            self.fps = float(self._info["fps"])
            self._video_path = str(self._info["video_path"])
            cameras = [key for key, facts in features.items() if facts["dtype"] == "video"]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{root}/meta/info.json is not LeRobot's: {error!r}") from error
        if not version.startswith(_VERSION):
            raise ValueError(f"{root} is of version {version}; convert it to v3.0 first")
        if camera not in cameras and (camera is not None or len(cameras) != 1):
            found = ", ".join(cameras) or "none"
            raise ValueError(f"name one of the cameras of {root} with --camera: {found}")
        self.camera = camera or cameras[0]

    def episodes(self) -> list[Episode]:
        """Returns all episodes, by their index.

        Raises:
            ValueError: a row lacks what says where its video is.
        """
        prefix, found = f"videos/{self.camera}", []
        for row in self._rows("meta/episodes"):
            try:
                place = {
                    "video_key": self.camera,
                    "chunk_index": row[f"{prefix}/chunk_index"],
                    "file_index": row[f"{prefix}/file_index"],
                }
                span = float(row[f"{prefix}/from_timestamp"]), float(row[f"{prefix}/to_timestamp"])
                video = self.root / self._video_path.format(**place)
                found.append(Episode(int(row["episode_index"]), video, *span))
            except (KeyError, TypeError) as error:
                raise ValueError(f"{self.root}/meta/episodes: no {error}") from error
        return sorted(found, key=lambda episode: episode.index)

    def write_labelled(self, target: Path, answers: Mapping[int, PredictionResult]) -> list[str]:
        """Writes the data set again with sub-tasks; returns their names by index.

        Rows of episodes without an answer have index -1. Their order is that of their names, so the
        same answers give the same files.

        Args:
            target: a folder that is not the data set's own.
            answers: episode -> its answer, times counted from the episode's beginning.

        Raises:
            ValueError: the target is the data set itself.
        """
        if target.resolve() == self.root.resolve():
            raise ValueError("--out is the data set itself")
        names = sorted({n for result in answers.values() for n in _names(result)})
        place = {name: index for index, name in enumerate(names)}
        labels = {
            index: [(s.start_s, s.end_s, place[_name(s)]) for s in result.segments if s.ar]
            for index, result in answers.items()
        }
        for path in self._files():
            copy = target / path.relative_to(self.root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".parquet" and path.relative_to(self.root).parts[0] == "data":
                _label_rows(path, copy, labels)
            elif path.suffix == ".mp4":
                _link(path, copy)
            else:
                shutil.copyfile(path, copy)
        _write_names(target / "meta" / "subtasks.parquet", names)
        feature = {"dtype": "int64", "shape": [1], "names": None}
        info = {**self._info, "features": {**self._info["features"], INDEX: feature}}
        (target / "meta" / "info.json").write_text(json.dumps(info, indent=4) + "\n")
        return names

    def _rows(self, folder: str) -> Iterator[dict[str, Any]]:
        for path in sorted((self.root / folder).rglob("*.parquet")):
            yield from pyarrow().parquet.read_table(path).to_pylist()

    def _files(self) -> list[Path]:
        folders = ("meta", "data", "videos")
        return sorted(p for f in folders for p in (self.root / f).rglob("*") if p.is_file())


def cut(episode: Episode, target: Path) -> float:
    """Writes an episode as a clip of its own, its pictures as they are.

    Returns:
        Seconds of the clip before the episode begins: it starts at a picture that can be decoded.

    Raises:
        OSError: the video cannot be read, or does not hold the episode.
    """
    draft = target.with_name(f".{target.name}.part")
    try:
        with (
            av.open(str(episode.video)) as source,
            av.open(str(draft), "w", format="matroska") as made,
        ):
            stream = source.streams.video[0]
            unit = float(stream.time_base or 1)
            source.seek(int((episode.start_s + 1e-4) / unit), stream=stream)
            copy, first = made.add_stream_from_template(stream), None
            for packet in source.demux(stream):
                if packet.pts is None or packet.dts is None:
                    continue
                if packet.pts * unit >= episode.end_s - 1e-4 and packet.is_keyframe:
                    break
                first = packet.pts if first is None else first
                packet.pts, packet.dts = packet.pts - first, packet.dts - first
                packet.stream = copy
                made.mux(packet)
    except (av.error.FFmpegError, IndexError) as error:
        raise OSError(f"{episode.video} cannot be read: {error}") from error
    if first is None:
        draft.unlink()
        raise OSError(f"{episode.video} has no picture from {episode.start_s:.3f} s on")
    os.replace(draft, target)
    return max(0.0, episode.start_s - first * unit)


def segments_of(episode: Episode, before_s: float, segment_s: float) -> list[tuple[float, float]]:
    """Returns the segments of an episode in its clip; a short rest belongs to the last one."""
    length_s = episode.end_s - episode.start_s
    count = max(1, int(length_s / segment_s + 0.5))
    bounds = [min(length_s, k * segment_s) for k in range(count)] + [length_s]
    return [(before_s + a, before_s + b) for a, b in zip(bounds, bounds[1:], strict=False)]


def _names(result: PredictionResult) -> Iterator[str]:
    return (_name(segment) for segment in result.segments if segment.ar)


def _name(segment: Any) -> str:
    return f"{segment.ar.verb[0].label} {segment.ar.noun[0].label}"


def _label_rows(
    path: Path, copy: Path, labels: Mapping[int, Sequence[tuple[float, float, int]]]
) -> None:
    arrow = pyarrow()
    table = arrow.parquet.read_table(path)
    found = []
    columns = table.column("episode_index").to_pylist(), table.column("timestamp").to_pylist()
    for episode, time_s in zip(*columns, strict=True):
        spans = labels.get(episode, ())
        found.append(next((i for a, b, i in spans if a <= time_s + 1e-6 < b), _last(spans, time_s)))
    column = arrow.array(found, arrow.int64())
    if INDEX in table.column_names:
        table = table.drop_columns([INDEX])
    arrow.parquet.write_table(table.append_column(INDEX, column), copy)


def _last(spans: Sequence[tuple[float, float, int]], time_s: float) -> int:
    """A row on the very end of an episode has its last sub-task."""
    return spans[-1][2] if spans and time_s >= spans[-1][0] else NONE


def _write_names(path: Path, names: Sequence[str]) -> None:
    arrow = pyarrow()
    table = arrow.table({INDEX: arrow.array(range(len(names)), arrow.int64()), NAME: list(names)})
    text = {"pandas_type": "unicode", "numpy_type": "object", "metadata": None}
    number = {"pandas_type": "int64", "numpy_type": "int64", "metadata": None}
    facts = {  # so that pandas reads the names as the index
        "index_columns": [NAME],
        "column_indexes": [],
        "columns": [
            {"name": INDEX, "field_name": INDEX, **number},
            {"name": NAME, "field_name": NAME, **text},
        ],
        "pandas_version": "2.0.0",
    }
    table = table.replace_schema_metadata({"pandas": json.dumps(facts)})
    path.parent.mkdir(parents=True, exist_ok=True)
    arrow.parquet.write_table(table, path)


def _link(path: Path, copy: Path) -> None:
    copy.unlink(missing_ok=True)
    try:
        os.link(path, copy)
    except OSError:  # another file system
        shutil.copyfile(path, copy)
