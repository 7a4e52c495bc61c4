"""Notices: limitations of a video that was read all the same, as sentences for the caller."""

from collections.abc import Iterator

import numpy as np

from extract.contract import FeatureContract
from extract.decode.clip import Notice
from extract.decode.read_plan import PacketReport, ReadPlan, share_lost
from extract.decode.reader import VideoReader
from extract.decode.resample import is_on_clock

GAP_S = 2.0
"""A picture shown for longer than this, and than `_GAP_FRAMES` median ones, is a gap."""

_GAP_FRAMES = 10


def notices_of(
    report: PacketReport,
    plan: ReadPlan,
    reader: VideoReader,
    contract: FeatureContract,
    *,
    has_fallen_back: bool = False,
) -> Iterator[Notice]:
    """Yields the notices of a file that was read, if need be with PyAV after decord failed."""
    yield from _of_times(plan, contract)
    if report.video_tracks > 1:
        yield Notice(
            "several-tracks",
            f"the file has {report.video_tracks} video tracks; track {report.video_track} "
            "was read, counted from 0",
        )
    if not reader.is_turnable:
        yield Notice(
            "orientation-ignored",
            "the file asks for its picture to be turned by an angle that is no multiple of "
            "90 degrees; it was used as stored",
        )
    if reader.pixel_aspect != 1:
        yield Notice(
            "non-square-pixels",
            f"pixels of the file are {reader.pixel_aspect:.3f} times as wide as high; pictures "
            "were used in the shape in which they are shown",
        )
    if report.transfer is not None:
        yield Notice(
            "hdr",
            f"brightness is coded for HDR screens ({report.transfer.upper()}) and was not "
            "tone-mapped: colours are paler than on a screen",
        )
    if has_fallen_back:
        yield Notice("reader-fallback", "decord gave up, PyAV read the clip")
    if (damage := share_lost(report, plan, reader)) > 0:
        yield Notice("damaged", lost(damage))
    if (count := len(plan.ticks)) < contract.window_frames:
        detail = f"the clip has {count} frames; the last one was repeated to fill a window"
        yield Notice("padded", detail)


def lost(damage: float) -> str:
    """Returns a sentence on the share of frames that are missing or damaged."""
    return f"about {damage:.1%} of the frames needed are missing or damaged"


def _of_times(plan: ReadPlan, contract: FeatureContract) -> Iterator[Notice]:
    clock = plan.clock
    if not is_on_clock(clock, contract.fps):
        rate = f"{round(clock.rate, 2):g}"
        kind = "constant" if clock.is_constant else "variable"
        yield Notice(
            f"resampled-from-{rate}fps",
            f"the clip has {rate} frames per second ({kind}); the frame nearest in time to every "
            f"1/{contract.fps} s was used",
        )
    if clock.num_repaired:
        yield Notice(
            "times-repaired",
            f"{clock.num_repaired} of {len(clock.times_s)} frames have a time that is missing, "
            "doubled or out of order; they were set between their neighbours",
        )
    gaps_s = np.diff(clock.times_s)
    if len(gaps_s) and gaps_s.max() >= max(GAP_S, _GAP_FRAMES * float(np.median(gaps_s))):
        place = int(gaps_s.argmax())
        begin_s = plan.start_s + float(clock.times_s[place])
        yield Notice(
            "gap",
            f"no frame comes between {begin_s:.2f} and {begin_s + gaps_s[place]:.2f} s; of the "
            "two the nearer one was used",
        )
