"""Reader of CVAT's XML export: tracks of video tasks, or tags of their frames."""

import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import IO
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from model.data.tables.overlaps import check_repeated
from model.data.tables.table import Segment, SegmentTable
from model.errors import AnnotationInvalid

LABEL = "label"
"""Output of the label itself; attributes are outputs under their own names."""

MAX_XML_BYTES = 2 << 30

Labels = dict[str, str]
Stretch = tuple[int, int, Labels, str]
"""First frame, frame after the last one, labels, the entry's name."""


@dataclass(frozen=True)
class _Task:
    """What the head of an export says.

    Attributes:
        video: name of the file without its ending.
        step: frames of the video between two frames of the task.
    """

    video: str
    step: int = 1


def read_cvat(place: Path, *, fps: float | None = None) -> SegmentTable:
    """Reads tasks in the format "CVAT for video 1.1" or "CVAT for images 1.1".

    A row is a stretch in which a track is not outside and its attributes stay, or consecutive
    frames that have the same tag. `label` is an output, and each attribute another.

    Args:
        place: the XML file of a task, the ZIP file that has it, or a folder of such files.
        fps: frames a second of the videos, which the exports do not say.

    Raises:
        AnnotationInvalid: a file is no such export, or an entry is invalid; names the entry.
    """
    if fps is None:
        raise AnnotationInvalid(f"{place}: CVAT counts in frames: give the videos' rate with --fps")
    found = [
        (path, video, stretch) for path in _exports(place) for video, stretch in _stretches(path)
    ]
    outputs = list(dict.fromkeys(name for _, _, (_, _, labels, _) in found for name in labels))
    segments = (
        Segment(video, start / fps, end / fps, tuple(map(labels.get, outputs)), str(path), entry)
        for path, video, (start, end, labels, entry) in found
    )
    table = SegmentTable.from_segments(str(place), outputs, segments)
    check_repeated(table)
    return table


def _exports(place: Path) -> list[Path]:
    """The files of exports: the one named, or those in a folder."""
    if not place.is_dir():
        return [place]
    files = sorted(p for p in place.iterdir() if p.suffix.lower() in (".xml", ".zip"))
    if not files:
        raise AnnotationInvalid(
            f"{place}: expected exports of CVAT in it, .xml or .zip, one for each video"
        )
    return files


def _stretches(path: Path) -> Iterator[tuple[str, Stretch]]:
    """Yields the video's name with each stretch of an export."""
    task = _Task("")
    stretches: list[Stretch] = []
    tags: list[tuple[int, Labels]] = []
    for element in _elements(path):
        if element.tag == "meta":
            task = _task(path, element)
        elif element.tag == "track":
            stretches += _of_track(path, element, task)
        else:
            frame = _number(path, f"image {element.get('id')}", element, "id")
            tags += [(frame, _labels(path, tag)) for tag in element if tag.get(LABEL)]
    stretches += _of_tags(tags, task)
    return ((task.video, stretch) for stretch in stretches)


def _elements(path: Path) -> Iterator[Element]:
    """Yields the head, the tracks and the images; of the file only one of them is in memory."""
    try:
        with _opened(path) as file:
            depth, root = 0, None
            for event, element in ElementTree.iterparse(file, ("start", "end")):
                depth += 1 if event == "start" else -1
                root = element if root is None else root
                if event == "end" and depth == 1 and element.tag in ("meta", "track", "image"):
                    yield element
                    root.clear()
    except ElementTree.ParseError as error:
        raise AnnotationInvalid(f"{path}, line {error.position[0]}: not XML: {error}") from error
    except (OSError, zipfile.BadZipFile) as error:
        raise AnnotationInvalid(f"{path}: cannot be read: {error}") from error


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Opens the XML file, or the one in an archive."""
    if path.suffix.lower() != ".zip":
        with path.open("rb") as file:
            yield file
        return
    with zipfile.ZipFile(path) as archive:
        inside = [
            i for i in archive.infolist() if PurePosixPath(i.filename).name == "annotations.xml"
        ]
        if len(inside) != 1 or inside[0].file_size > MAX_XML_BYTES:
            raise AnnotationInvalid(
                f"{path}: expected one annotations.xml in it, of at most {MAX_XML_BYTES} bytes, "
                f"found {len(inside)}"
            )
        with archive.open(inside[0]) as member:
            yield member


def _task(path: Path, meta: Element) -> _Task:
    if meta.find("project") is not None:
        raise AnnotationInvalid(f"{path}: is of a whole project; export its tasks one by one")
    name = next((e.text for tag in ("source", "name") for e in meta.iter(tag) if e.text), None)
    if not name:
        raise AnnotationInvalid(f"{path}: meta names no source, as the export of a video task does")
    rule = next((e.text or "" for e in meta.iter("frame_filter")), "")
    step = rule.partition("step=")[2].strip()
    return _Task(PurePosixPath(name.strip()).stem, int(step) if step.isdecimal() else 1)


def _of_track(path: Path, track: Element, task: _Task) -> Iterator[Stretch]:
    """The stretches of a track: it is there from a shape until the next one, unless outside."""
    place = f"track {track.get('id')}"
    shapes = [
        (
            _number(path, place, shape, "frame"),
            shape.get("outside") == "1",
            _labels(path, shape, track),
        )
        for shape in track
        if shape.get("frame") is not None
    ]
    start, last, labels = 0, 0, None
    for frame, is_outside, now in sorted(shapes, key=itemgetter(0)):
        new = None if is_outside else now
        if new != labels:
            if labels is not None:
                yield start, frame, labels, place
            start, labels = frame, new
        last = frame
    if labels is not None:
        yield start, last + task.step, labels, place


def _of_tags(tags: Iterable[tuple[int, Labels]], task: _Task) -> Iterator[Stretch]:
    """The stretches of frames with the same labels, one after another."""
    frames: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for frame, labels in tags:
        frames.setdefault(tuple(sorted(labels.items())), []).append(frame)
    for key, found in frames.items():
        found = sorted(set(found))
        start = found[0]
        for frame, following in zip(found, [*found[1:], None], strict=True):
            if following is None or following > frame + task.step:
                yield start, frame + task.step, dict(key), f"image {start}"
                start = following or 0


def _labels(path: Path, shape: Element, owner: Element | None = None) -> Labels:
    label = (shape if owner is None else owner).get(LABEL)
    labels = {LABEL: label} if label else {}
    for attribute in shape.iter("attribute"):
        name = attribute.get("name", "")
        if name == LABEL:
            raise AnnotationInvalid(f"{path}: an attribute is called {LABEL!r}: call it otherwise")
        if attribute.text and attribute.text.strip():
            labels[name] = attribute.text.strip()
    return labels


def _number(path: Path, place: str, element: Element, name: str) -> int:
    text = element.get(name, "")
    if not text.isdecimal():
        raise AnnotationInvalid(f"{path}, {place}, {name}: expected a frame's number, got {text!r}")
    return int(text)
