"""Small files that grow when they are opened, and clips beyond a limit."""

import av

from tests.extract.clips import numbered_frame
from tests.hostile import boxes
from tests.hostile.odd import tracks
from tests.hostile.pictures import add_video, black, clip, muxed, plain, retimed
from tests.hostile.specimen import Bait, Make, answered, refused

UNDECODABLE = (422, "undecodable-video")
TOO_LONG = (422, "too-long-for-sync")
TOO_MANY_PIXELS = (422, "too-many-pixels")


def _claims(width: int, height: int) -> Make:
    """Motion JPEG of few pixels whose pictures claim to have others in their own heads."""
    size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    start_of_frame = b"\xff\xc0\0\x11\x08"  # its length and 8 bits a sample; then the size

    def make(bait: Bait) -> bytes:
        head, *pictures = black(bait, 64, 48, codec="mjpeg").split(start_of_frame)
        return head + b"".join(start_of_frame + size + picture[4:] for picture in pictures)

    return make


def _grows_in_mid_stream(bait: Bait) -> bytes:
    """A modest beginning, then pictures of 8000x8000."""
    paths = []
    for size in (64, 8000):
        paths.append(bait.folder / f"grows-{size}.mp4")
        paths[-1].write_bytes(black(bait, size, size, codec="mjpeg"))

    def fill(container) -> None:
        with av.open(str(paths[0])) as first:
            copy = container.add_stream_from_template(first.streams.video[0])
        at = 0
        for path in paths:
            with av.open(str(path)) as read:
                for packet in read.demux(read.streams.video[0]):
                    if packet.size:
                        packet.stream, packet.pts, packet.dts = copy, at, at
                        container.mux(packet)
                        at += 512

    return muxed(bait, fill)


def _many_frames(bait: Bait) -> bytes:
    """Ten thousand tiny pictures in forty seconds."""
    frames = (numbered_frame(k, 16, 16) for k in range(10_000))
    return clip(bait, frames, rate=250, codec="mpeg4")


SPECIMENS = [
    refused("8000x8000 in H.264", lambda b: black(b, 8000, 8000), *TOO_MANY_PIXELS),
    refused("8000x8000 in motion JPEG", lambda b: black(b, 8000, 8000, codec="mjpeg"),
            *UNDECODABLE),
    refused("16000x16000 in a picture's own head", _claims(16000, 16000), *UNDECODABLE),
    refused("65000x65000 in a picture's own head", _claims(65000, 65000), *UNDECODABLE),
    refused("a strip that would grow when resized", lambda b: black(b, 16, 16000, codec="mjpeg"),
            *TOO_MANY_PIXELS),
    # The reader of short clips knows no size after the first; the limits of its process hold.
    answered("8000x8000 in mid-stream", _grows_in_mid_stream, "padded"),
    # The library calls more tracks than it may look at a lack of memory.
    refused("forty video tracks", tracks(*[lambda c: add_video(c, frames=33)] * 40),
            *TOO_MANY_PIXELS),
    refused("a minute and more", lambda b: clip(b, 100, rate=1), *TOO_LONG),
    refused("ten thousand frames", _many_frames, *TOO_LONG),
    refused("an age between two frames", lambda b: retimed(b, plain(b), lambda k: k * 10**5),
            *TOO_LONG),
    refused("a body larger than the limit", lambda _: boxes.box(b"ftyp", bytes(9 << 20)), 413,
            "body-too-large"),
]  # fmt: skip
