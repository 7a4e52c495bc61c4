from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from extract.contract import OMNIVORE, TABLETOP
from extract.decode.clip import Limits
from extract.decode.read_plan import (
    PacketReport,
    decord_fits,
    decord_may_read,
    plan_reading,
    share_lost,
)
from extract.errors import VideoRejected
from extract.windows import wanted_frames
from tests.extract.support.decoded import EVERY

GOOD = PacketReport(
    container="mp4",
    video_track=0,
    video_tracks=1,
    codec="h264",
    width=640,
    height=480,
    pixel_aspect=1.0,
    transfer=None,
    frames_declared=240,
    duration_declared_s=8.0,
    rate_declared=30.0,
    unit_s=1 / 15360,
    num_packets=240,
    num_hidden=0,
    times_s=np.arange(240) / 30,
    last_s=1 / 30,
    is_cut=False,
    has_one_size=True,
)


def test_decord_may_read_a_harmless_file_with_or_without_a_declared_count():
    assert decord_may_read(GOOD, TABLETOP)
    assert decord_may_read(replace(GOOD, frames_declared=None), TABLETOP)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_hidden": 131, "num_packets": 371},
        {"num_packets": 241},
        {"frames_declared": 431},
        {"frames_declared": 2**31 - 1},
        {"times_s": np.arange(240) / 30 + 11.4},
        {"times_s": np.arange(240) / 30 - 0.1},
        {"times_s": np.zeros(240)},
        {"times_s": np.full(240, np.nan)},
        {"is_cut": True},
        {"has_one_size": False},
    ],
)
def test_decord_may_not_read_what_it_is_known_to_get_wrong(changes):
    assert not decord_may_read(replace(GOOD, **changes), TABLETOP)


def test_decord_may_not_read_for_contracts_it_cannot_keep():
    assert not decord_may_read(GOOD, OMNIVORE)
    assert not decord_may_read(GOOD, replace(TABLETOP, color="bt601"))


def test_decord_reads_only_what_it_can_hold_at_once():
    assert decord_fits(128, 96, GOOD, Limits(max_decord_mb=9))
    assert not decord_fits(128, 96, GOOD, Limits(max_decord_mb=8))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 240),
        ({"frames_declared": None}, 240),
        ({"frames_declared": 60}, 240),
        # Half a file: the index and the declared length both promise more.
        ({"num_packets": 120, "times_s": np.arange(120) / 30}, 240),
        # One frame is missing.
        ({"num_packets": 239, "times_s": np.arange(239) / 30}, 240),
        # Trimmed at the end by an editor: the length was corrected, the index was not.
        ({"frames_declared": 431}, 240),
        ({"frames_declared": 431, "num_hidden": 105, "num_packets": 345}, 240),
        ({"frames_declared": 431, "is_cut": True}, 431),
        ({"frames_declared": 431, "duration_declared_s": None}, 431),
    ],
)
def test_a_whole_file_is_told_from_a_cut_one(changes, expected):
    assert replace(GOOD, **changes).num_expected == expected


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"num_packets": 0, "times_s": np.zeros(0)}, "damaged"),
        ({"num_packets": 7201}, "too-many-frames"),
        ({"times_s": np.append(np.arange(239) / 30, 1e9)}, "too-long"),
        ({"width": 16000, "height": 16000}, "too-many-pixels"),
    ],
)
def test_files_over_a_limit_are_refused_before_a_picture_is_decoded(changes, code):
    with pytest.raises(VideoRejected) as caught:
        plan_reading(replace(GOOD, **changes), TABLETOP, Limits())
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (Limits(max_fps=29), "frame-rate-too-high"),
        (Limits(max_clip_pixels=GOOD.width * GOOD.height * 240 - 1), "too-large"),
    ],
)
def test_budgets_of_time_and_pixels_hold_for_the_whole_clip(limits, code):
    plan_reading(GOOD, TABLETOP, replace(limits, max_fps=31, max_clip_pixels=2**40))
    with pytest.raises(VideoRejected) as caught:
        plan_reading(GOOD, TABLETOP, limits)
    assert caught.value.code == code


def test_a_plan_repeats_every_frame_as_often_as_it_is_shown():
    plan = plan_reading(replace(GOOD, times_s=np.arange(240) / 24), EVERY, Limits())
    assert np.array_equal(np.repeat(np.arange(240), plan.repeats), plan.ticks)
    assert len(plan.ticks) == 300


@pytest.mark.parametrize("rate", [30, 24, 50])
def test_a_plan_counts_only_the_ticks_that_windows_look_at(rate):
    plan = plan_reading(replace(GOOD, times_s=np.arange(240) / rate), TABLETOP, Limits())
    assert np.array_equal(plan.wanted, wanted_frames(len(plan.ticks), TABLETOP))
    assert np.array_equal(np.repeat(np.arange(240), plan.repeats), plan.due)
    assert plan.due.tolist() == plan.ticks[plan.wanted].tolist()


def read(decoded, refused=0, corrupt=0):
    return SimpleNamespace(
        num_decoded=decoded, num_refused=refused, num_corrupt=corrupt, num_unplanned=0
    )


@pytest.mark.parametrize(
    ("declared", "counts", "damage"),
    [
        (240, read(120), 0),
        (240, read(117), 3 / 120),
        (240, read(119, corrupt=2), 3 / 120),
        (240, read(120, refused=6), 6 / 240),
        (240, read(0), 1),
        (250, read(120), 10 / 250),
        (250, read(114), 6 / 120 + 10 / 250),
    ],
)
def test_damage_is_the_share_of_the_frames_needed_that_is_missing(declared, counts, damage):
    report = replace(GOOD, frames_declared=declared, is_cut=True)
    plan = plan_reading(report, TABLETOP, Limits())
    assert np.count_nonzero(plan.repeats) == 120
    assert share_lost(report, plan, counts) == pytest.approx(damage)


def hd(num_frames):
    return replace(
        GOOD,
        width=1920,
        height=1080,
        frames_declared=num_frames,
        num_packets=num_frames,
        times_s=np.arange(num_frames) / 30,
    )


def test_what_a_request_may_hold_does_not_depend_on_the_size_of_the_source():
    plan_reading(hd(891), OMNIVORE, Limits())
    with pytest.raises(VideoRejected, match="takes 512 MB, at most 512 MB are accepted"):
        plan_reading(hd(892), OMNIVORE, Limits())
    plan_reading(hd(892), OMNIVORE, Limits(is_stream=True))
