import pytest

from extract.decode.clip import Limits
from extract.decode.video import decode_clip
from tests.extract.decode.clip_checks import rejection
from tests.extract.support.decoded import EVERY


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (Limits(max_duration_s=3.0), "too-long"),
        (Limits(max_frames=99), "too-many-frames"),
        (Limits(max_pixels=64 * 48 - 1), "too-many-pixels"),
        (Limits(max_pixels=128 * 96 - 1), "too-many-pixels"),
        (Limits(max_output_mb=3), "too-long"),
    ],
)
def test_clips_over_a_limit_are_refused(clips, limits, code):
    assert rejection(clips / "plain.mp4", limits=limits) == code


def test_a_clip_at_every_limit_is_accepted(clips):
    limits = Limits(
        max_duration_s=3.34, max_frames=100, max_pixels=128 * 96, max_output_mb=4, max_decord_mb=4
    )
    clip = decode_clip(clips / "plain.mp4", EVERY, limits)
    assert clip.info.reader == "decord"
