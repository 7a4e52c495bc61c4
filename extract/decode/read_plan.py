"""Read plan: pre-decode checks of a file's packets against limits, and the frames to deliver.

Pure functions of the packet scan in `demux`: counts and times are known before any picture is
decoded, and so are the properties that decord is known to read wrong.
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
"""Share of lost or corrupt frames above which a clip is refused as damaged."""

TOLERANCE_S = 0.05
"""Tolerance of the duration limit: clocks of containers and callers differ."""

Transfer = Literal["hlg", "pq"]

_MB = 1024 * 1024


@dataclass(frozen=True, eq=False)
class PacketReport:
    """Result of scanning the packets of a file's video track.

    Attributes:
        container: from the first bytes.
        video_track: which of the file's video tracks this is, from 0.
        video_tracks: how many there are, attached covers aside.
        codec: canonical name.
        width: stored pixels, before rotation; the decoder may find another size.
        height: as `width`.
        pixel_aspect: width of a pixel divided by its height.
        transfer: "hlg" or "pq" where brightness is coded for HDR screens.
        frames_declared: frames according to the index, if stated.
        duration_declared_s: length according to the track, if stated.
        rate_declared: average rate according to the track, if stated.
        unit_s: resolution of the container's times.
        num_packets: packets with data.
        num_hidden: packets that an edit list hides.
        times_s: (n,) float64 presentation times of the pictures, in presentation order; nan when
            missing. One for each packet shown, until the pictures are listed.
        last_s: duration of the last picture, if stated.
        is_cut: reading ended with an error, or a packet was truncated.
        has_one_size: every picture has the size in the file's header.
        is_interlaced: pictures may come as two fields in two packets.
        needs_list: a packet need not be a picture, or times are doubtful: the pictures have to be
            listed by decoding.
        is_listed: `times_s` are of pictures that a decoder gave, in its order.
        num_lost: pictures that the decoder should have given and did not, at least.
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
        """Packets that no edit list hides; most of them give a picture."""
        return self.num_packets - self.num_hidden

    @property
    def num_expected(self) -> int:
        """Packets that the undamaged file would show.

        The index may count frames that the file no longer holds: an editor that trims leaves it as
        it was. So its count is used only when the stated length is missing too.
        """
        declared = self.frames_declared or 0
        if declared <= self.num_packets or self.num_hidden:
            return self.num_shown
        if self.duration_declared_s is None or len(self.times_s) < 2:
            return declared
        first_s, last_s = float(self.times_s[0]), float(self.times_s[-1])
        gap_s = (last_s - first_s) / (len(self.times_s) - 1)
        # An edit list may begin with an empty edit, which counts as length.
        shown_s = max(last_s, last_s - first_s)
        is_short = shown_s + 1.5 * gap_s < self.duration_declared_s
        return declared if self.is_cut or is_short else self.num_shown


@dataclass(frozen=True, eq=False)
class ReadPlan:
    """Which frames to deliver.

    Attributes:
        clock: presentation times of the source.
        start_s: presentation time of its first frame, at least 0.
        ticks_per_s: ticks of the contract's clock in a second of the source.
        ticks: (m,) int64, the source frame of every tick of the contract's clock.
        wanted: (m,) bool, whether a window uses that tick; only these are delivered.
        repeats: (n,) int64, number of wanted ticks of each source frame.
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
    """Counts of a `VideoReader`."""

    num_decoded: int
    num_refused: int
    num_corrupt: int
    num_unplanned: int


def check_packets(report: PacketReport, limits: Limits) -> None:
    """Checks counts and sizes before anything is decoded.

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
    """Returns which frames to deliver of a clip that is within its limits.

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
    width = max(1, round(report.width * report.pixel_aspect))
    width = width // 2 if contract.view == "left" else width
    check_output(int(wanted.sum()), contract.read_bytes(width, report.height), limits)
    # AVI stores no times: a start other than 0 is the delay of the decoder.
    start_s = 0.0 if report.container == "avi" else max(0.0, clock.start_s)
    ticks_per_s = ticks_per_second(clock, contract.fps, report.unit_s)
    return ReadPlan(clock, start_s, ticks_per_s, ticks, wanted, repeats)


def check_frame(width: int, height: int, contract: FeatureContract, limits: Limits) -> None:
    """Checks one decoded frame, as shown: the header may be wrong, and sizes may change.

    Raises:
        VideoRejected: too many pixels, as it is or after the resize.
    """
    check_frame_pixels(width, height, limits)
    if contract.resize == "decoder":
        check_frame_pixels(*resized_size(width, height, contract), limits)


def share_lost(report: PacketReport, plan: ReadPlan, reader: ReaderCounts) -> float:
    """Returns the share of needed frames that are missing or corrupt, at least.

    Frames that no window uses count only where the file lacks them: it is unknown which they were.
    """
    needed = np.count_nonzero(plan.repeats)
    lost = needed - reader.num_decoded + reader.num_corrupt
    refused = reader.num_refused + reader.num_unplanned
    absent = report.num_expected - report.num_shown + report.num_lost
    return float(max(lost / needed, refused / report.num_packets) + absent / report.num_expected)


def is_misplanned(report: PacketReport, plan: ReadPlan, reader: ReaderCounts) -> bool:
    """Returns whether a decoder reported no error and yet gave other pictures than planned.

    Packets may hold no picture of their own: hidden frames (VP9, AV1), fields, or pictures that
    reference one from before a cut. Only decoding shows which.
    """
    has_errors = reader.num_refused or reader.num_corrupt or report.is_cut
    is_short = reader.num_decoded < np.count_nonzero(plan.repeats)
    return not report.is_listed and not has_errors and bool(is_short or reader.num_unplanned)


def decord_may_read(report: PacketReport, contract: FeatureContract) -> bool:
    """Returns whether decord reads such a file correctly, memory aside.

    It chooses the track itself, counts a packet as a picture, shows hidden frames, loses pictures
    when the first time is not zero, decodes pictures of any size, and can neither ignore the colour
    tag nor crop before the resize.
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
    """Returns whether all frames, in the size that decord delivers, fit its memory at once."""
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
    """Checks the pixels of all frames together: a small file can take long to decode."""
    pixels = report.width * report.height * report.num_packets
    if pixels > limits.max_clip_pixels:
        raise VideoRejected(
            "too-large",
            f"all {report.num_packets} frames together have {pixels} pixels, at most "
            f"{limits.max_clip_pixels} are accepted",
        )


def _check_rate(clock: SourceTimes, unit_s: float, limits: Limits) -> None:
    """Checks the frame rate; rounded times may shorten the clip by one unit of the container."""
    if len(clock.times_s) / (clock.end_s + unit_s) > limits.max_fps:
        raise VideoRejected(
            "frame-rate-too-high",
            f"the clip has {clock.rate:.2f} frames per second, at most {limits.max_fps:g} "
            "are accepted",
        )


def check_output(num_frames: int, frame_bytes: int, limits: Limits) -> None:
    """Checks the memory of all delivered frames, unless they are streamed.

    Raises:
        VideoRejected: they take more than is allowed.
    """
    needed_mb = num_frames * frame_bytes / _MB
    if not limits.is_stream and needed_mb > limits.max_output_mb:
        raise VideoRejected(
            "too-long",
            f"the decoded clip takes {needed_mb:.0f} MB, at most {limits.max_output_mb} MB "
            "are accepted",
        )
