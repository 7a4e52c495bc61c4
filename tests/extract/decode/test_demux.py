import shutil

import pytest

from extract.decode.clip import Limits
from extract.decode.video import decode_clip
from extract.errors import VideoRejected
from tests.extract.decode.clip_checks import numbers, rejection
from tests.extract.support.clips import (
    noisy_frames,
    png_bytes,
    write_audio_only,
    write_clip,
    write_numbered,
)
from tests.extract.support.decoded import EVERY


def test_files_that_are_no_videos_are_refused(tmp_path):
    path = tmp_path / "a.mp4"
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{tmp_path}/other.mp4\n"
    for content in (b"", b"hello", playlist.encode(), png_bytes()):
        path.write_bytes(content)
        assert rejection(path) == "not-a-video"


def test_a_file_without_pictures_is_refused(tmp_path):
    assert rejection(write_audio_only(tmp_path / "a.mp4")) == "no-video-track"


def test_other_codecs_are_refused(tmp_path):
    path = write_numbered(tmp_path / "a.mkv", 32, codec="ffv1")
    assert rejection(path) == "unsupported-codec"


def test_a_file_whose_index_is_cut_off_is_damaged(clips, tmp_path):
    data = (clips / "plain.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[: len(data) // 2])
    assert rejection(tmp_path / "a.mp4") == "damaged"


def test_a_header_that_lies_about_the_size_does_not_get_past_the_limit(tmp_path):
    path = write_clip(tmp_path / "a.mp4", noisy_frames(32, 320, 240))
    data = bytearray(path.read_bytes())
    sample = data.index(b"avc1", data.index(b"stsd")) + 28
    assert data[sample : sample + 4] == (320).to_bytes(2, "big") + (240).to_bytes(2, "big")
    data[sample : sample + 4] = (16).to_bytes(2, "big") * 2
    path.write_bytes(data)
    with pytest.raises(VideoRejected):
        decode_clip(path, EVERY, Limits(max_pixels=320 * 240 - 1))
    assert decode_clip(path, EVERY, Limits()).info.width == 320


def test_the_name_of_a_file_does_not_matter(clips, tmp_path):
    shutil.copy(clips / "plain.mp4", tmp_path / "list.m3u8")
    clip = decode_clip(tmp_path / "list.m3u8", EVERY, Limits())
    assert numbers(clip.frames) == list(range(100))
