"""Container detection by magic bytes, before any library opens the file.

It keeps playlists, scripts, images and text away from libraries that would follow them.
"""

from pathlib import Path
from typing import Literal

from extract.errors import VideoRejected

Container = Literal["mp4", "matroska", "avi"]
LiveContainer = Literal["mp4", "matroska", "mpegts"]

HEAD_BYTES = 512
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_EBML = b"\x1a\x45\xdf\xa3"
_TS_PACKET_BYTES = 188
_OTHER_VIDEO = {
    b"FLV\x01": "Flash video",
    b"OggS": "Ogg",
    b"\x00\x00\x01\xba": "an MPEG program stream",
    b"0&\xb2u\x8ef\xcf\x11": "Windows Media",
}


def sniff_container(head: bytes) -> Container:
    """Returns the container that a file's first bytes belong to.

    Args:
        head: at least the first 512 bytes, or all of a shorter file.

    Raises:
        VideoRejected: empty, no video, or a container that is not accepted.
    """
    if not head:
        raise VideoRejected("not-a-video", "the file is empty")
    if head[4:8] in _MP4_BOXES:
        return "mp4"
    if head.startswith(_EBML):
        return "matroska"
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "avi"
    for magic, name in _OTHER_VIDEO.items():
        if head.startswith(magic):
            raise VideoRejected("unsupported-container", _accepted(name))
    if head[:1] == b"G" and head[_TS_PACKET_BYTES : _TS_PACKET_BYTES + 1] == b"G":
        raise VideoRejected("unsupported-container", _accepted("an MPEG transport stream"))
    raise VideoRejected("not-a-video", "the bytes do not start like an MP4, MOV, MKV, WebM or AVI")


def sniff_live(head: bytes) -> LiveContainer:
    """Returns the container of a stream, which may be an MPEG transport stream; not an AVI.

    Args:
        head: at least the first 512 bytes, or all of a shorter stream.

    Raises:
        VideoRejected: as `sniff_container` does.
    """
    if head[:1] == b"G" and head[_TS_PACKET_BYTES : _TS_PACKET_BYTES + 1] == b"G":
        return "mpegts"
    container = sniff_container(head)
    if container == "avi":
        raise VideoRejected("unsupported-container", "an AVI cannot be read as it arrives")
    return container


def sniff_file(path: Path) -> Container:
    """Returns the container of a file; see `sniff_container`."""
    with path.open("rb") as file:
        return sniff_container(file.read(HEAD_BYTES))


def _accepted(name: str) -> str:
    return f"this is {name}; MP4, MOV, MKV, WebM and AVI are accepted"
