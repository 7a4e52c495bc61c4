"""A clip's bytes to frames on the contract's clock, whichever reader decodes them.

Sniffs, looks at the packets, then decodes each frame once. Untrusted clips belong in a
`sandbox.DecodePool`; what is here runs in the caller's process.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from extract.clip import TRUSTED, ClipInfo, DecodedClip, Limits, Notice, ReaderChoice
from extract.clock import is_on_clock
from extract.contract import FeatureContract
from extract.decord_reader import DecordTrouble
from extract.errors import VideoRejected
from extract.gate import MAX_LOST, PacketReport, ReadPlan, check_output, plan_reading
from extract.pyav_container import scan_packets
from extract.pyav_reader import PyavReader
from extract.reader import VideoReader, open_reader
from extract.sniff import sniff_file

__all__ = [
    "TRUSTED",
    "ClipFacts",
    "ClipInfo",
    "DecodedClip",
    "FrameSink",
    "Limits",
    "Notice",
    "decode_clip",
    "decode_into",
    "stream_frames",
]

BLOCK_FRAMES = 32
"""Frames that are handed on together; fewer when they are large."""
_BLOCK_BYTES = 8 * 1024 * 1024


class FrameSink(Protocol):
    """Where decoded frames go."""

    def expect(self, num_frames: int) -> None:
        """Is told, before the first frame, how many there are if the file is whole."""

    def append(self, block: np.ndarray) -> None:
        """Takes the next (n, H, W, 3) uint8 frames."""

    def restart(self) -> None:
        """Forgets all frames: another reader starts from the beginning."""


@dataclass(frozen=True, eq=False)
class ClipFacts:
    """A `DecodedClip` but for its frames."""

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
    """Returns all frames of a clip, decoded in this process.

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
) -> ClipFacts:
    """Decodes a clip into a sink; but for what decord reads ahead, no more than a block is held.

    PyAV starts over when decord reports trouble.

    Raises:
        VideoRejected: the file is no acceptable clip; frames may have gone to the sink before.
        DecoderUnavailable: this machine lacks the reader.
        OSError: the file cannot be read.
    """
    report = scan_packets(path, sniff_file(path), limits)
    plan = plan_reading(report, contract, limits)
    notices = list(_clock_notices(plan, contract))
    reader = open_reader(choice, path, report, contract, limits)
    sink.expect(len(plan.ticks))
    try:
        shown = _pour(_checked(reader, plan, contract, limits), plan, sink)
    except DecordTrouble as error:
        if choice == "decord":
            raise VideoRejected("reader-refused", "decord gave up on the clip") from error
        sink.restart()
        notices.append(Notice("reader-fallback", "decord gave up, PyAV read the clip"))
        reader = PyavReader(path, report, contract, limits)
        shown = _pour(_checked(reader, plan, contract, limits), plan, sink)
    notices += _damage(report, reader, contract, len(shown))
    return _facts(_info(report, plan, reader), plan, shown, notices, contract)


def stream_frames(
    path: Path, contract: FeatureContract, limits: Limits = TRUSTED
) -> Iterator[np.ndarray]:
    """Yields all frames in blocks of (n, H, W, 3) uint8, with PyAV, in bounded memory.

    Raises:
        VideoRejected: the file is no acceptable video. That so much of it was damaged that its
            frames cannot be used is only known after the last block.
        OSError: the file cannot be read.
    """
    report = scan_packets(path, sniff_file(path), limits)
    plan = plan_reading(report, contract, limits)
    reader = PyavReader(path, report, contract, limits)
    count = 0
    for block, _ in _blocks(reader.frames(plan.repeats), plan):
        count += len(block)
        yield block
    _damage(report, reader, contract, count)


def _checked(
    reader: VideoReader, plan: ReadPlan, contract: FeatureContract, limits: Limits
) -> Iterator[tuple[int, np.ndarray]]:
    size = (0, 0)
    for index, picture in reader.frames(plan.repeats):
        if size != (reader.width, reader.height):
            size = (reader.width, reader.height)
            check_output(*size, plan, contract, limits)
        yield index, picture


def _pour(frames: Iterable[tuple[int, np.ndarray]], plan: ReadPlan, sink: FrameSink) -> np.ndarray:
    """Sends frames to the sink; returns the source frame of each, (n,) int64."""
    shown = []
    for block, indices in _blocks(frames, plan):
        sink.append(block)
        shown.append(indices)
    return np.concatenate(shown) if shown else np.zeros(0, dtype=np.int64)


def _blocks(
    frames: Iterable[tuple[int, np.ndarray]], plan: ReadPlan
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Gathers frames, each as often as it is shown, with the source frame of each.

    Pictures are copied once, into the block: what readers give are views of buffers they reuse
    or of larger frames.
    """
    block = np.empty((0, 0, 0, 3), dtype=np.uint8)
    indices: list[int] = []
    for index, picture in frames:
        for _ in range(plan.repeats[index]):
            if not indices:
                length = max(1, min(BLOCK_FRAMES, _BLOCK_BYTES // picture.nbytes))
                block = np.empty((length, *picture.shape), dtype=np.uint8)
            block[len(indices)] = picture
            indices.append(index)
            if len(indices) == len(block):
                yield block, np.array(indices, dtype=np.int64)
                indices = []
    if indices:
        yield block[: len(indices)], np.array(indices, dtype=np.int64)


def _clock_notices(plan: ReadPlan, contract: FeatureContract) -> Iterator[Notice]:
    if is_on_clock(plan.clock, contract.fps):
        return
    rate = f"{round(plan.clock.rate, 2):g}"
    kind = "constant" if plan.clock.is_constant else "variable"
    yield Notice(
        f"resampled-from-{rate}fps",
        f"the clip has {rate} frames per second ({kind}); the frame nearest in time to every "
        f"1/{contract.fps} s was used",
    )


def _damage(
    report: PacketReport, reader: VideoReader, contract: FeatureContract, num_shown: int
) -> list[Notice]:
    """A clip with little damage is answered with a notice; one with more is refused."""
    expected = report.num_expected
    lost = max(0, expected - reader.num_decoded)
    bad = max(lost + reader.num_corrupt, reader.num_refused)
    if bad == 0:
        return []
    if num_shown < contract.window_frames or bad > MAX_LOST * expected:
        raise VideoRejected(
            "damaged", f"{bad} of the clip's {expected} frames are missing or damaged"
        )
    return [Notice("damaged", f"{bad} of {expected} frames are missing or damaged")]


def _info(report: PacketReport, plan: ReadPlan, reader: VideoReader) -> ClipInfo:
    return ClipInfo(
        duration_s=plan.clock.end_s,
        fps=round(plan.clock.rate, 3),
        width=reader.width,
        height=reader.height,
        rotation=reader.rotation,
        codec=report.codec,
        container=report.container,
        frames_declared=report.frames_declared,
        frames_decoded=reader.num_decoded,
        reader=reader.name,
    )


def _facts(
    info: ClipInfo,
    plan: ReadPlan,
    shown: np.ndarray,
    notices: list[Notice],
    contract: FeatureContract,
) -> ClipFacts:
    if len(shown) == 0:
        raise VideoRejected("damaged", "no frame could be decoded")
    if len(shown) < contract.window_frames:
        detail = f"the clip has {len(shown)} frames; the last one was repeated to fill a window"
        notices = [*notices, Notice("padded", detail)]
    return ClipFacts(info, shown, plan.clock.times_s[shown], tuple(notices))
