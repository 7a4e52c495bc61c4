"""Decoding of a clip to frames on the contract's clock, in the caller's process, by any reader.

Sniffs the container, scans the packets, then decodes each frame once. Untrusted clips belong in a
`sandbox.pool.DecodePool`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Protocol

import numpy as np

from extract.contract import FeatureContract
from extract.decode.clip import ClipInfo, DecodedClip, Limits, Notice, ReaderChoice
from extract.decode.decord_reader import DecordTrouble
from extract.decode.demux import scan_packets
from extract.decode.notices import lost, notices_of
from extract.decode.pyav.picture_list import comes_in_fields, list_pictures
from extract.decode.pyav.reader import PyavReader
from extract.decode.read_plan import (
    MAX_LOST,
    PacketReport,
    ReadPlan,
    check_output,
    check_packets,
    is_misplanned,
    plan_reading,
    share_lost,
)
from extract.decode.reader import VideoReader, open_reader
from extract.decode.sniff import sniff_file
from extract.errors import VideoRejected

BLOCK_FRAMES = 32
"""Frames in one block; fewer when they are large."""
BLOCK_BYTES = 8 * 1024 * 1024
"""Largest block of several frames; a larger frame is a block of its own."""


class FrameSink(Protocol):
    """Consumer of decoded frames: those that windows use, see `windows.wanted_frames`."""

    def expect(self, num_frames: int) -> None:
        """Called before the first frame with the video's length on the contract's clock."""

    def append(self, block: np.ndarray) -> None:
        """Takes the next frames, (n, H, W, 3) of the contract's `read_shape` and `read_dtype`."""

    def restart(self) -> None:
        """Drops all frames: another reader starts from the beginning."""


@dataclass(frozen=True, eq=False)
class ClipFacts:
    """A `DecodedClip` without its frames."""

    info: ClipInfo
    source_frames: np.ndarray
    source_times_s: np.ndarray
    notices: tuple[Notice, ...]


@dataclass
class _MemorySink:
    blocks: list[np.ndarray] = field(default_factory=list)

    def expect(self, num_frames: int) -> None:
        pass

    def append(self, block: np.ndarray) -> None:
        self.blocks.append(block)

    def restart(self) -> None:
        self.blocks.clear()


def decode_clip(path: Path, contract: FeatureContract, limits: Limits) -> DecodedClip:
    """Returns the frames of a clip that windows use, decoded in this process.

    Raises:
        VideoRejected: the file is no acceptable clip; `code` says why.
        OSError: the file cannot be read.
    """
    sink = _MemorySink()
    facts = decode_into(path, contract, limits, sink)
    frames = np.concatenate(sink.blocks)
    return DecodedClip(facts.info, frames, facts.source_frames, facts.source_times_s, facts.notices)


def decode_into(
    path: Path,
    contract: FeatureContract,
    limits: Limits,
    sink: FrameSink,
    choice: ReaderChoice = "auto",
    *,
    video_track: int | None = None,
) -> ClipFacts:
    """Decodes a clip into a sink; one block is in memory, besides what decord reads ahead.

    Restarts with PyAV when decord fails, and with a list of the actual pictures when they are not
    those that the packets announced.

    Args:
        path: the file.
        contract: how frames are to be delivered.
        limits: what the file may cost.
        sink: takes the frames.
        choice: of the decoder.
        video_track: which of the file's video tracks, from 0; None takes the one marked as default.

    Raises:
        VideoRejected: the file is no acceptable clip; frames may have gone to the sink before.
        DecoderUnavailable: this machine lacks the reader.
        OSError: the file cannot be read.
    """
    report = scan_packets(path, sniff_file(path), limits, video_track)
    check_packets(report, limits)
    is_doubtful = report.needs_list or (
        report.is_interlaced and comes_in_fields(path, report, limits)
    )
    if is_doubtful:
        report = list_pictures(path, report, limits)
    decoding = _Decoding(path, contract, limits, sink, choice)
    try:
        return decoding.run(report)
    except _Misplanned:
        return decoding.run(list_pictures(path, report, limits))


class _Misplanned(Exception):
    """The pictures of a file are not those that its packets announced."""


@dataclass(frozen=True)
class _Decoding:
    """The decoding of one file into a sink."""

    path: Path
    contract: FeatureContract
    limits: Limits
    sink: FrameSink
    choice: ReaderChoice

    def run(self, report: PacketReport) -> ClipFacts:
        """Reads the file as planned from its report.

        Raises:
            _Misplanned: other pictures came; the sink has some of them.
        """
        contract, limits, sink = self.contract, self.limits, self.sink
        plan = plan_reading(report, contract, limits)
        reader = open_reader(self.choice, self.path, report, contract, limits)
        sink.expect(len(plan.ticks))
        sink.restart()
        has_fallen_back = False
        try:
            _read_into(_checked(reader, report, plan, contract), plan, limits, sink)
        except DecordTrouble as error:
            if self.choice == "decord":
                raise VideoRejected("reader-refused", "decord gave up on the clip") from error
            sink.restart()
            has_fallen_back = True
            reader = PyavReader(self.path, report, contract, limits)
            _read_into(_checked(reader, report, plan, contract), plan, limits, sink)
        notices = notices_of(report, plan, reader, contract, has_fallen_back=has_fallen_back)
        times_s = plan.start_s + plan.clock.times_s[plan.ticks]
        return ClipFacts(_info(report, plan, reader), plan.ticks, times_s, tuple(notices))


def _checked(
    reader: VideoReader, report: PacketReport, plan: ReadPlan, contract: FeatureContract
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields the reader's frames; after the last one, refuses a clip that is too damaged."""
    yield from reader.frames(plan.repeats)
    if is_misplanned(report, plan, reader):
        raise _Misplanned
    damage = share_lost(report, plan, reader)
    is_short = len(plan.ticks) < contract.window_frames
    if damage > MAX_LOST or (damage > 0 and is_short):
        raise VideoRejected("damaged", lost(damage))


def _read_into(
    frames: Iterable[tuple[int, np.ndarray]],
    plan: ReadPlan,
    limits: Limits,
    sink: FrameSink,
) -> None:
    """Sends a picture of every wanted tick to the sink, a block at a time.

    Pictures are copied once, into the block: readers yield views of reused buffers.

    Raises:
        VideoRejected: the pictures take more memory than the file's header said, or are of
            several sizes.
    """
    block = last = np.empty(0, np.uint8)
    count = 0
    for picture in _shown(frames, plan.due):
        if not block.size:
            assert picture is not None  # the first tick repeats none
            check_output(len(plan.due), picture.nbytes, limits)
            block = last = _new_block(picture)
        if picture is not None and picture.shape != block.shape[1:]:
            raise VideoRejected("damaged", "the size of the picture changes on the way")
        block[count] = last if picture is None else picture
        last = block[count]
        count += 1
        if count == len(block):
            sink.append(block)
            block, count = np.empty_like(block), 0
    if count:
        sink.append(block[:count])


def _new_block(picture: np.ndarray) -> np.ndarray:
    length = max(1, min(BLOCK_FRAMES, BLOCK_BYTES // picture.nbytes))
    return np.empty((length, *picture.shape), picture.dtype)


def _shown(
    frames: Iterable[tuple[int, np.ndarray]], due: np.ndarray
) -> Iterator[np.ndarray | None]:
    """Yields the picture of every wanted tick; None repeats the one before it.

    So times stay correct where a frame is lost: its ticks show the picture before it, or the first
    one.

    Args:
        frames: (source frame, picture) in order.
        due: (w,) the source frame of every wanted tick, never decreasing.
    """
    begin = 0
    for index, picture in frames:
        own, end = np.searchsorted(due, [index, index + 1])
        for tick in range(begin, end):
            yield picture if tick in (0, own) else None
        begin = end
    yield from repeat(None, len(due) - begin)


def _info(report: PacketReport, plan: ReadPlan, reader: VideoReader) -> ClipInfo:
    return ClipInfo(
        start_s=plan.start_s,
        duration_s=plan.clock.end_s,
        ticks_per_s=plan.ticks_per_s,
        fps=round(plan.clock.rate, 3),
        width=reader.width,
        height=reader.height,
        rotation=reader.orientation.rotation,
        mirrored=reader.orientation.is_mirrored,
        video_track=report.video_track,
        video_tracks=report.video_tracks,
        codec=report.codec,
        container=report.container,
        frames_declared=report.frames_declared,
        frames_decoded=reader.num_decoded,
        reader=reader.name,
    )
