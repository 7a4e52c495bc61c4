"""What a look at the packets decides: refuse, or who may read.

Pure: the look itself is taken in `pyav_reader`. It sees true counts and times before a single
picture is decoded, and everything that one of the readers is known to get wrong.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from extract.clip import Limits
from extract.clock import Clock, plan_frames, read_clock
from extract.contract import FeatureContract
from extract.errors import VideoRejected
from extract.geometry import resized_size
from extract.sniff import Container
from extract.windows import wanted_frames

MAX_LOST = 0.05
"""Share of frames that may be lost or spoilt before the clip counts as damaged."""

_MB = 1024 * 1024


@dataclass(frozen=True, eq=False)
class PacketReport:
    """What the packets of a file's video track say.

    Attributes:
        container: from the first bytes.
        codec: canonical name.
        width: stored pixels, before rotation; the decoder may find another size.
        height: as `width`.
        frames_declared: frames the index claims, if it does.
        duration_declared_s: length the track claims, if it does.
        rate_declared: average rate the track claims, if it does.
        num_packets: packets with data.
        num_hidden: packets that an edit list hides.
        times_s: (n,) float64 presentation times of the packets shown, sorted; nan when missing.
        is_cut: reading ended with an error, or a packet was not all there.
        has_one_size: no picture can have another size than the head of the file says.
    """

    container: Container
    codec: str
    width: int
    height: int
    frames_declared: int | None
    duration_declared_s: float | None
    rate_declared: float | None
    num_packets: int
    num_hidden: int
    times_s: np.ndarray
    is_cut: bool
    has_one_size: bool

    @property
    def num_shown(self) -> int:
        """Frames a decoder should give."""
        return len(self.times_s)

    @property
    def num_expected(self) -> int:
        """Frames a whole file would give.

        The index may count frames that the file no longer holds. It is believed only when the
        length it claims is missing too: an editor that trims the end leaves the index as it was.
        """
        declared = self.frames_declared or 0
        if declared <= self.num_packets or self.num_hidden:
            return self.num_shown
        if self.duration_declared_s is None or self.num_shown < 2:
            return declared
        span_s = float(self.times_s[-1] - self.times_s[0])
        gap_s = span_s / (self.num_shown - 1)
        is_short = span_s + 1.5 * gap_s < self.duration_declared_s
        return declared if self.is_cut or is_short else self.num_shown


@dataclass(frozen=True, eq=False)
class ReadPlan:
    """Which frames to deliver.

    Attributes:
        clock: when the source shows its frames.
        ticks: (m,) int64, the source frame of every tick of the contract's clock.
        wanted: (m,) bool, whether a window looks at that tick; only these are delivered.
        repeats: (n,) int64, on how many wanted ticks each source frame is shown.
    """

    clock: Clock
    ticks: np.ndarray
    wanted: np.ndarray
    repeats: np.ndarray

    @property
    def due(self) -> np.ndarray:
        """The source frame of every wanted tick, (w,) int64, never decreasing."""
        due: np.ndarray = self.ticks[self.wanted]
        return due


class ReaderCounts(Protocol):
    """What a `VideoReader` counts."""

    num_decoded: int
    num_refused: int
    num_corrupt: int


def plan_reading(report: PacketReport, contract: FeatureContract, limits: Limits) -> ReadPlan:
    """Returns what to deliver of a clip that is within its limits.

    Raises:
        VideoRejected: no frame, or too many, too fast, too long, too large.
    """
    if report.num_shown == 0:
        raise VideoRejected("damaged", "the video track holds no frame")
    _check_pixels(report.width, report.height, limits)
    # Hidden frames are decoded too, so they count.
    if report.num_packets > limits.max_frames:
        raise VideoRejected(
            "too-many-frames",
            f"the clip has {report.num_packets} frames, at most {limits.max_frames} are accepted",
        )
    _check_all_pixels(report, limits)
    clock = read_clock(report.times_s, declared_rate=report.rate_declared)
    if clock.rate > limits.max_fps:
        raise VideoRejected(
            "frame-rate-too-high",
            f"the clip has {clock.rate:.0f} frames per second, at most {limits.max_fps:g} "
            "are accepted",
        )
    if clock.end_s > limits.max_duration_s:
        raise VideoRejected(
            "too-long",
            f"the clip lasts {clock.end_s:.1f} s, at most {limits.max_duration_s:g} s are accepted",
        )
    ticks = plan_frames(clock, contract.fps)  # at least one
    wanted = wanted_frames(len(ticks), contract)
    repeats = np.bincount(ticks[wanted], minlength=report.num_shown)
    _check_output(int(wanted.sum()), contract, limits)
    return ReadPlan(clock, ticks, wanted, repeats)


def check_frame(width: int, height: int, contract: FeatureContract, limits: Limits) -> None:
    """Checks one decoded frame, as shown: the header may have lied, and sizes may change.

    Raises:
        VideoRejected: too many pixels, as it is or after the resize.
    """
    _check_pixels(width, height, limits)
    if contract.resize == "decoder":
        _check_pixels(*resized_size(width, height, contract), limits)


def damage_of(report: PacketReport, plan: ReadPlan, reader: ReaderCounts) -> float:
    """Returns the share of the frames needed that are missing or spoilt, at least.

    Frames that nobody wants are missed only where the file does not hold them: there nothing tells
    which they were.

    Args:
        report: what the packets say.
        plan: what was wanted of them.
        reader: what it counted, having read them all.
    """
    needed = np.count_nonzero(plan.repeats)
    lost = needed - reader.num_decoded + reader.num_corrupt
    absent = report.num_expected - report.num_shown
    return float(
        max(lost / needed, reader.num_refused / report.num_packets) + absent / report.num_expected
    )


def decord_may_read(report: PacketReport, contract: FeatureContract) -> bool:
    """Tells whether decord is known to read such a file right, memory aside.

    It shows hidden frames, loses pictures when the first time is not zero, decodes pictures of any
    size, and can be told neither to ignore the colour tag nor to leave half of a frame out.
    """
    times_s = report.times_s
    return bool(
        contract.resize == "decoder"
        and contract.color == "tagged"
        and contract.view == "whole"
        and report.has_one_size
        and not report.is_cut
        and report.num_hidden == 0
        and report.num_shown == report.num_packets
        and report.frames_declared in (None, report.num_packets)
        and times_s[0] == 0.0
        and (np.diff(times_s) > 0).all()
    )


def decord_fits(width: int, height: int, report: PacketReport, limits: Limits) -> bool:
    """Tells whether all frames of the size decord delivers fit its memory at once."""
    return report.num_packets * width * height * 3 <= limits.max_decord_mb * _MB


def _check_pixels(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.max_pixels:
        raise VideoRejected(
            "too-many-pixels",
            f"a frame has {width} x {height} pixels, at most {limits.max_pixels} are accepted",
        )


def _check_all_pixels(report: PacketReport, limits: Limits) -> None:
    """A small file can hold a great many pixels; each of them takes time to decode."""
    pixels = report.width * report.height * report.num_packets
    if pixels > limits.max_clip_pixels:
        raise VideoRejected(
            "too-many-pixels",
            f"all frames together have {pixels} pixels, at most {limits.max_clip_pixels} "
            "are accepted",
        )


def _check_output(num_frames: int, contract: FeatureContract, limits: Limits) -> None:
    """All frames together have to fit the memory set aside for them, unless they go by."""
    needed_mb = num_frames * contract.frame_bytes / _MB
    if not limits.is_stream and needed_mb > limits.max_output_mb:
        raise VideoRejected(
            "too-long",
            f"the decoded clip takes {needed_mb:.0f} MB, at most {limits.max_output_mb} MB "
            "are accepted",
        )
