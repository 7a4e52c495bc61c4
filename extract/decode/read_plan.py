"""What a look at the packets decides: refuse, or who may read.

Pure: the look itself is taken in `pyav_reader`. It sees true counts and times before a single
picture is decoded, and everything that one of the readers is known to get wrong.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from extract.contract import FeatureContract, resized_size
from extract.decode.clip import Limits
from extract.decode.resample import SourceTimes, read_clock, resample, ticks_per_second
from extract.decode.sniff import Container
from extract.errors import VideoRejected
from extract.windows import wanted_frames

MAX_LOST = 0.05
"""Share of frames that may be lost or spoilt before the clip counts as damaged."""

TOLERANCE_S = 0.05
"""How far past a limit of time a clip may end: clocks of containers and callers differ."""

Transfer = Literal["hlg", "pq"]

_MB = 1024 * 1024


@dataclass(frozen=True, eq=False)
class PacketReport:
    """What the packets of a file's video track say.

    Attributes:
        container: from the first bytes.
        video_track: which of the file's video tracks this is, from 0.
        video_tracks: how many there are, attached covers aside.
        codec: canonical name.
        width: stored pixels, before rotation; the decoder may find another size.
        height: as `width`.
        pixel_aspect: width of a pixel divided by its height.
        transfer: "hlg" or "pq" where brightness is coded for HDR screens.
        frames_declared: frames the index claims, if it does.
        duration_declared_s: length the track claims, if it does.
        rate_declared: average rate the track claims, if it does.
        unit_s: to which the container rounds times.
        num_packets: packets with data.
        num_hidden: packets that an edit list hides.
        times_s: (n,) float64 presentation times of the pictures, in the order shown; nan when
            missing. As many as packets shown, until the pictures were listed.
        last_s: how long the last picture is shown, if the file says.
        is_cut: reading ended with an error, or a packet was not all there.
        has_one_size: no picture can have another size than the head of the file says.
        is_interlaced: pictures may come as two fields in two packets.
        needs_list: a packet need not be a picture here, or its time is in doubt: only decoding
            tells which pictures there are.
        is_listed: `times_s` are of pictures that a decoder gave, in the order it gives them.
        num_lost: pictures that it should have given and did not, at least.
    """

    container: Container
    video_track: int
    video_tracks: int
    codec: str
    width: int
    height: int
    pixel_aspect: float
    transfer: Transfer | None
    frames_declared: int | None
    duration_declared_s: float | None
    rate_declared: float | None
    unit_s: float
    num_packets: int
    num_hidden: int
    times_s: np.ndarray
    last_s: float | None
    is_cut: bool
    has_one_size: bool
    is_interlaced: bool = False
    needs_list: bool = False
    is_listed: bool = False
    num_lost: int = 0

    @property
    def num_shown(self) -> int:
        """Packets that nothing hides; most of them give a picture."""
        return self.num_packets - self.num_hidden

    @property
    def num_expected(self) -> int:
        """Packets that a whole file would show.

        The index may count frames that the file no longer holds. It is believed only when the
        length it claims is missing too: an editor that trims leaves the index as it was.
        """
        declared = self.frames_declared or 0
        if declared <= self.num_packets or self.num_hidden:
            return self.num_shown
        if self.duration_declared_s is None or len(self.times_s) < 2:
            return declared
        first_s, last_s = float(self.times_s[0]), float(self.times_s[-1])
        gap_s = (last_s - first_s) / (len(self.times_s) - 1)
        # An edit list may begin with a stretch of nothing, which counts as length.
        shown_s = max(last_s, last_s - first_s)
        is_short = shown_s + 1.5 * gap_s < self.duration_declared_s
        return declared if self.is_cut or is_short else self.num_shown


@dataclass(frozen=True, eq=False)
class ReadPlan:
    """Which frames to deliver.

    Attributes:
        clock: when the source shows its frames.
        start_s: when it shows the first one, as answers count.
        ticks_per_s: ticks of the contract's clock in a second of the source.
        ticks: (m,) int64, the source frame of every tick of the contract's clock.
        wanted: (m,) bool, whether a window looks at that tick; only these are delivered.
        repeats: (n,) int64, on how many wanted ticks each source frame is shown.
    """

    clock: SourceTimes
    start_s: float
    ticks_per_s: float
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
    num_unplanned: int


def check_packets(report: PacketReport, limits: Limits) -> None:
    """Checks what there is to decode.

    Raises:
        VideoRejected: no frame, too many, or too large ones.
    """
    if len(report.times_s) == 0:
        raise VideoRejected("damaged", "the video track holds no frame")
    check_frame_pixels(report.width, report.height, limits)
    # Hidden frames are decoded too, so they count.
    if report.num_packets > limits.max_frames:
        raise VideoRejected(
            "too-many-frames",
            f"the clip has {report.num_packets} frames, at most {limits.max_frames} are accepted",
        )
    _check_all_pixels(report, limits)


def plan_reading(report: PacketReport, contract: FeatureContract, limits: Limits) -> ReadPlan:
    """Returns what to deliver of a clip that is within its limits.

    Raises:
        VideoRejected: no frame, or too many, too fast, too long, too large.
    """
    check_packets(report, limits)
    clock = read_clock(report.times_s, declared_rate=report.rate_declared, last_s=report.last_s)
    _check_rate(clock, report.unit_s, limits)
    if clock.end_s > limits.max_duration_s + TOLERANCE_S:
        raise VideoRejected(
            "too-long",
            f"the clip lasts {clock.end_s:.1f} s, at most {limits.max_duration_s:g} s are accepted",
        )
    ticks = resample(clock, contract.fps)  # at least one
    wanted = wanted_frames(len(ticks), contract)
    repeats = np.bincount(ticks[wanted], minlength=len(report.times_s))
    _check_output(int(wanted.sum()), contract, limits)
    # AVI stores no times: what its tracks seem to start at is the delay of a decoder.
    start_s = 0.0 if report.container == "avi" else max(0.0, clock.start_s)
    ticks_per_s = ticks_per_second(clock, contract.fps, report.unit_s)
    return ReadPlan(clock, start_s, ticks_per_s, ticks, wanted, repeats)


def check_frame(width: int, height: int, contract: FeatureContract, limits: Limits) -> None:
    """Checks one decoded frame, as shown: the header may have lied, and sizes may change.

    Raises:
        VideoRejected: too many pixels, as it is or after the resize.
    """
    check_frame_pixels(width, height, limits)
    if contract.resize == "decoder":
        check_frame_pixels(*resized_size(width, height, contract), limits)


def share_lost(report: PacketReport, plan: ReadPlan, reader: ReaderCounts) -> float:
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
    refused = reader.num_refused + reader.num_unplanned
    absent = report.num_expected - report.num_shown + report.num_lost
    return float(max(lost / needed, refused / report.num_packets) + absent / report.num_expected)


def is_misplanned(report: PacketReport, plan: ReadPlan, reader: ReaderCounts) -> bool:
    """Tells whether a decoder found nothing wrong, and yet gave other pictures than planned.

    Packets may hold no picture of their own: frames of a codec's own that are never shown, fields,
    pictures that need one from before a cut. The decoder is the one to know.
    """
    has_errors = reader.num_refused or reader.num_corrupt or report.is_cut
    is_short = reader.num_decoded < np.count_nonzero(plan.repeats)
    return not report.is_listed and not has_errors and bool(is_short or reader.num_unplanned)


def decord_may_read(report: PacketReport, contract: FeatureContract) -> bool:
    """Tells whether decord is known to read such a file right, memory aside.

    It chooses a track of its own, takes a packet for a picture, shows hidden frames, loses pictures
    when the first time is not zero, decodes pictures of any size, and can be told neither to ignore
    the colour tag nor to leave half of a frame out.
    """
    times_s = report.times_s
    return bool(
        contract.resize == "decoder"
        and contract.color == "tagged"
        and contract.view == "whole"
        and report.has_one_size
        and not report.is_cut
        and report.video_tracks == 1
        and not report.is_listed
        and report.num_hidden == 0
        and len(times_s) == report.num_packets
        and report.frames_declared in (None, report.num_packets)
        and times_s[0] == 0.0
        and (np.diff(times_s) > 0).all()
    )


def decord_fits(width: int, height: int, report: PacketReport, limits: Limits) -> bool:
    """Tells whether all frames of the size decord delivers fit its memory at once."""
    return report.num_packets * width * height * 3 <= limits.max_decord_mb * _MB


def check_frame_pixels(width: int, height: int, limits: Limits) -> None:
    """Checks the size of a frame, as stored or as shown.

    Raises:
        VideoRejected: too many pixels.
    """
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
            "too-large",
            f"all {report.num_packets} frames together have {pixels} pixels, at most "
            f"{limits.max_clip_pixels} are accepted",
        )


def _check_rate(clock: SourceTimes, unit_s: float, limits: Limits) -> None:
    """Times are rounded to the container's unit, by up to one in all between first and last."""
    count = len(clock.times_s)
    longest_s = clock.end_s + unit_s
    if count / longest_s > limits.max_fps:
        raise VideoRejected(
            "frame-rate-too-high",
            f"the clip has {clock.rate:.2f} frames per second, at most {limits.max_fps:g} "
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
