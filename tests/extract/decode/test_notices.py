import av
import pytest

from extract.decode.clip import Limits
from extract.decode.video import decode_clip
from tests.extract.decode.clip_checks import codes, numbers
from tests.extract.support.clips import write_numbered
from tests.extract.support.decoded import EVERY


@pytest.mark.parametrize("count", [1, 2, 31])
def test_a_short_clip_is_announced_as_padded(tmp_path, count):
    clip = decode_clip(write_numbered(tmp_path / "a.mp4", count), EVERY, Limits())
    assert numbers(clip.frames) == list(range(count))
    assert codes(clip) == ["padded"]


def test_a_file_that_lost_its_last_pictures_is_answered_with_a_notice(clips, tmp_path):
    data = (clips / "index-first.mp4").read_bytes()
    with av.open(str(clips / "index-first.mp4")) as source:
        ends = [p.pos + p.size for p in source.demux(video=0) if p.size]
    (tmp_path / "a.mp4").write_bytes(data[: ends[-4]])
    clip = decode_clip(tmp_path / "a.mp4", EVERY, Limits())
    assert codes(clip) == ["damaged"]
    assert numbers(clip.frames) == list(range(97))
    assert clip.info.frames_decoded == 97
    assert clip.info.frames_declared == 100
