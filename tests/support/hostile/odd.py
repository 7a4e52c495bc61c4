"""Clips that are unusual and right: every one gets its answers."""

import itertools
from fractions import Fraction

import av

from tests.extract.support.clips import noisy_frames, numbered_frame, trim_by_copy
from tests.support.hostile.pictures import (
    FRAMES,
    add_tone,
    add_video,
    clip,
    muxed,
    plain,
    retimed,
)
from tests.support.hostile.specimen import Bait, Make, answered, refused

IN_ORDER = {"bf": "0", "g": "10"}


def _with(ending: str = "mp4", **options) -> Make:
    return lambda bait: clip(bait, ending=ending, **options)


def _sized(width: int, height: int, **options) -> Make:
    return lambda bait: clip(bait, noisy_frames(FRAMES, width, height), **options)


def _trimmed(bait: Bait) -> bytes:
    source = bait.folder / "whole.mp4"
    source.write_bytes(clip(bait, 100, options={"bf": "0", "g": "100"}))
    return trim_by_copy(source, bait.folder / "trimmed.mp4", 30).read_bytes()


def _times(ticks, frames: int = FRAMES) -> Make:
    return lambda bait: retimed(bait, clip(bait, frames, options=IN_ORDER), ticks)


def tracks(*adds, ending: str = "mp4") -> Make:
    """Several tracks in one file, in this order."""

    def fill(container) -> None:
        for encode in [add(container) for add in adds]:
            encode()

    return lambda bait: muxed(bait, fill, ending=ending)


def _changing_size(bait: Bait) -> bytes:
    """Two streams of one track end to end; the second is larger."""
    parts = []
    for size in ((64, 48), (128, 96)):
        path = bait.folder / f"{size[0]}.mkv"
        path.write_bytes(clip(bait, [numbered_frame(k, *size) for k in range(20)], ending="mkv",
                              options=IN_ORDER))  # fmt: skip
        parts.append(path)

    def fill(container) -> None:
        with av.open(str(parts[0])) as first:
            copy = container.add_stream_from_template(first.streams.video[0])
        numbers = itertools.count()
        for path in parts:
            with av.open(str(path)) as read:
                stream = read.streams.video[0]
                head = _annex_b(bytes(stream.codec_context.extradata))
                for packet in read.demux(stream):
                    if packet.size:
                        at = round(next(numbers) * 1000 / 30)
                        body = head + bytes(packet) if packet.is_keyframe else bytes(packet)
                        new = av.Packet(body)
                        new.stream, new.pts, new.dts, new.is_keyframe = (
                            copy, at, at, packet.is_keyframe)  # fmt: skip
                        new.time_base = stream.time_base
                        container.mux(new)

    return muxed(bait, fill, ending="mkv")


def _annex_b(extradata: bytes) -> bytes:
    """The parameter sets of an avcC record, each with its length before it, as in a sample."""
    out, at = b"", 5
    for mask in (0x1F, 0xFF):
        count, at = extradata[at] & mask, at + 1
        for _ in range(count):
            size = int.from_bytes(extradata[at : at + 2], "big")
            out += size.to_bytes(4, "big") + extradata[at + 2 : at + 2 + size]
            at += 2 + size
    return out


SPECIMENS = [
    answered("plain", plain),
    answered("one frame", lambda b: clip(b, 1), "padded"),
    answered("one frame less than a window", lambda b: clip(b, 31), "padded"),
    answered("a key frame every 600", lambda b: clip(b, 650, options={"g": "600"})),
    answered("frames out of order", _with(options={"bf": "3", "g": "20"})),
    answered("25 frames a second", _with(rate=25), "resampled-from-25fps"),
    answered("29.97 frames a second", _with(rate=Fraction(30000, 1001))),
    refused("240 frames a second", lambda b: clip(b, 480, rate=240), 422, "frame-rate-too-high"),
    answered("120 frames a second", lambda b: clip(b, 240, rate=120), "resampled-from-120fps"),
    answered("two frames a second", lambda b: clip(b, 10, rate=2), "resampled-from-2fps"),
    answered("turned by 90", _with(rotation=90)),
    answered("turned by 180", _with(rotation=180)),
    answered("turned by 270", _with(rotation=270)),
    answered("upright", _sized(48, 64)),
    answered("odd sizes", _sized(63, 47, pix_fmt="yuv444p")),
    answered("one pixel", _sized(1, 1, codec="mjpeg", pix_fmt="yuvj444p", ending="avi")),
    answered("a strip", _sized(640, 16)),
    answered("4:4:4", _with(pix_fmt="yuv444p")),
    answered("full range", _with(pix_fmt="yuvj420p")),
    answered("H.264 in 10 bits", _with(pix_fmt="yuv420p10le")),
    answered("HEVC", _with(codec="libx265")),
    answered("HEVC in 10 bits", _with(codec="libx265", pix_fmt="yuv420p10le")),
    answered("VP8 in WebM", _with("webm", codec="libvpx")),
    answered("VP9 in WebM", _with("webm", codec="libvpx-vp9")),
    answered("VP9 in MP4", _with(codec="libvpx-vp9")),
    answered("AV1", _sized(128, 96, codec="libsvtav1", options={"preset": "12"})),
    answered("MPEG-4", _with(codec="mpeg4")),
    answered("MPEG-4 in AVI", _with("avi", codec="mpeg4")),
    answered("H.264 in AVI", _with("avi")),
    answered("motion JPEG in AVI", _with("avi", codec="mjpeg", pix_fmt="yuvj420p")),
    answered("MOV", _with("mov")),
    answered("Matroska", _with("mkv")),
    answered("in fragments",
             _with(container_options={"movflags": "frag_keyframe+empty_moov"},
                   options=IN_ORDER)),
    answered("trimmed by an edit list", _trimmed),
    answered("a hole of three seconds", _times(lambda k: k if k < 20 else k + 90),
             "resampled-from-9.23fps", "gap"),
    answered("growing gaps", _times(lambda k: k * (k + 9) // 10), "resampled-from-6.38fps"),
    answered("times below zero", _times(lambda k: k - 15, frames=60)),
    answered("times from a thousand hours on", _times(lambda k: k + 30 * 3_600_000)),
    answered("sound first", tracks(add_tone, add_video)),
    answered("two video tracks",
             tracks(add_video, lambda c: add_video(c, size=(128, 96))), "several-tracks"),
    answered("size changes on the way", _changing_size),
    answered("a name with a path in it", plain, sent_as="../../../etc/passwd"),
    answered("a name of odd characters", plain,
             sent_as="\u202egpj.clip \u2603 \t;$(reboot)'\"%00.mp4"),
    answered("a very long name", plain, sent_as="x" * 4000 + ".mp4"),
]  # fmt: skip
