"""What tests read off decoded clips, and a clip of noise."""

import pytest

from extract.decode.clip import Limits
from extract.decode.video import decode_clip
from extract.errors import VideoRejected
from tests.extract.support.clips import noisy_frames, read_number, write_clip
from tests.extract.support.decoded import EVERY


def numbers(frames):
    return [read_number(frame) for frame in frames]


def codes(clip):
    return [notice.code for notice in clip.notices]


def rejection(path, contract=EVERY, limits=Limits()):  # noqa: B008
    with pytest.raises(VideoRejected) as caught:
        decode_clip(path, contract, limits)
    return caught.value.code


def noisy(path, count=71, size=(160, 90), **options):
    return write_clip(path, noisy_frames(count, *size), **options)
