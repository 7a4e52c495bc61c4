"""Small files that grow when they are opened, and clips beyond a limit."""

from tests.extract.clips import numbered_frame
from tests.hostile import boxes
from tests.hostile.pictures import black, clip, muxed, plain, retimed
from tests.hostile.specimen import Bait, refused

TOO_LONG = (422, "too-long-for-sync")
TOO_MANY_PIXELS = (422, "too-many-pixels")


def _grows_in_mid_stream(bait: Bait) -> bytes:
    """A modest beginning, then pictures of 8000x8000, as AVI says nothing of a change."""
    small, large = black(bait, 64, 48, codec="mjpeg"), black(bait, 8000, 8000, codec="mjpeg")
    paths = []
    for data in (small, large):
        paths.append(bait.folder / f"part-{len(data)}.mp4")
        paths[-1].write_bytes(data)

    def fill(container) -> None:
        import av

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
    refused(
        "16000x16000 in motion JPEG",
        lambda b: black(b, 16000, 16000, codec="mjpeg", frames=1),
        *TOO_MANY_PIXELS,
    ),
    refused("8000x2 after rotation", lambda b: black(b, 16, 16000, codec="mjpeg"), 422, ""),
    refused("8000x8000 in mid-stream", _grows_in_mid_stream, 422, ""),
    refused("a minute and more", lambda b: clip(b, 100, rate=1), *TOO_LONG),
    refused("ten thousand frames", _many_frames, *TOO_LONG),
    refused("an age between two frames", lambda b: retimed(b, plain(b), lambda k: k * 10**5),
            *TOO_LONG),
    refused("a body larger than the limit", lambda b: boxes.box(b"ftyp", bytes(9 << 20)), 413,
            "body-too-large"),
]  # fmt: skip
