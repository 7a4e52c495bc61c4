"""Small files that grow when they are opened, and clips beyond a limit."""

from tests.extract.support.clips import joined, numbered_frame
from tests.support.hostile import boxes
from tests.support.hostile.odd import tracks
from tests.support.hostile.pictures import add_video, black, clip, plain, retimed
from tests.support.hostile.specimen import Bait, Make, refused

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


def _grows_in_mid_stream(codec: str) -> Make:
    """A modest beginning, then pictures of 8000x8000."""

    def make(bait: Bait) -> bytes:
        paths = [bait.folder / f"{codec}-{size}.mp4" for size in (64, 8000)]
        for path, size in zip(paths, (64, 8000), strict=True):
            path.write_bytes(black(bait, size, size, codec=codec))
        return joined(paths, bait.folder / f"{codec}-grows.mp4").read_bytes()

    return make


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
    refused("a strip that would grow when resized", lambda b: black(b, 16, 40000, codec="mjpeg"),
            *TOO_MANY_PIXELS),
    refused("8000x8000 in mid-stream", _grows_in_mid_stream("mjpeg"), *UNDECODABLE),
    refused("8000x8000 in mid-stream of H.264", _grows_in_mid_stream("libx264"), *UNDECODABLE),
    refused("forty video tracks", tracks(*[lambda c: add_video(c, frames=33)] * 40),
            415, "unsupported-media"),
    refused("a minute and more", lambda b: clip(b, 100, rate=1), *TOO_LONG),
    refused("ten thousand frames", _many_frames, *TOO_LONG),
    refused("an age between two frames", lambda b: retimed(b, plain(b), lambda k: k * 10**5),
            *TOO_LONG),
    refused("a body larger than the limit", lambda _: boxes.box(b"ftyp", bytes(9 << 20)), 413,
            "body-too-large"),
]  # fmt: skip
