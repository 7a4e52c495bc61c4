import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract.decode.sniff import sniff_container
from extract.errors import VideoRejected
from tests.extract.support.clips import png_bytes


@pytest.mark.parametrize(
    ("head", "container"),
    [
        (b"\0\0\0\x18ftypisom", "mp4"),
        (b"\0\0\0\x14ftypqt  ", "mp4"),
        (b"\0\0\0\x08wide\0\0", "mp4"),
        (b"\x1aE\xdf\xa3\x01\x00", "matroska"),
        (b"RIFF\x10\0\0\0AVI LIST", "avi"),
    ],
)
def test_accepted_containers_are_told_by_their_first_bytes(head, container):
    assert sniff_container(head) == container


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"#EXTM3U\n#EXT-X-VERSION:3\n",
        b"ffconcat version 1.0\nfile a.mp4\n",
        b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n",
        b"<?xml version='1.0'?><MPD></MPD>",
        b"<html>not found</html>",
        b"\xff\xd8\xff\xe0\0\x10JFIF",
        b"RIFF\x10\0\0\0WAVEfmt ",
        png_bytes(),
    ],
)
def test_everything_else_is_no_video(head):
    with pytest.raises(VideoRejected) as caught:
        sniff_container(head)
    assert caught.value.code == "not-a-video"


@pytest.mark.parametrize("head", [b"FLV\x01\x05", b"OggS\0\x02", b"G" + b"\0" * 187 + b"G"])
def test_other_video_containers_are_named_as_such(head):
    with pytest.raises(VideoRejected) as caught:
        sniff_container(head)
    assert caught.value.code == "unsupported-container"
    assert "accepted" in caught.value.detail


@given(st.binary(max_size=600))
def test_no_bytes_cause_anything_but_an_answer_or_a_rejection(head):
    try:
        answer = sniff_container(head)
    except VideoRejected as error:
        answer = error.code
    assert answer in ("mp4", "matroska", "avi", "not-a-video", "unsupported-container")
