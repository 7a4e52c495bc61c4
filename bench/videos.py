"""Generated videos: textured pictures that move, as those of a head-worn camera do."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

_MARGIN = 64


def write_video(path: Path, width: int, height: int, *, seconds: float, fps: int = 30) -> Path:
    """Writes H.264 as cameras do: sub-pixel motion, some sensor noise, a key frame a second."""
    generator = np.random.default_rng(0)
    rows, columns = ((size + 2 * _MARGIN) // 16 for size in (height, width))
    coarse = generator.integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    picture = cv2.resize(coarse, (width + 2 * _MARGIN, height + 2 * _MARGIN))
    noises = generator.normal(0, 4, (8, height, width, 3)).astype(np.int8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"g": str(fps)})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(round(seconds * fps)):
            x, y = (_MARGIN * (1 + 0.9 * wave(number / 20)) for wave in (np.sin, np.cos))
            shift = np.array([[1, 0, -x], [0, 1, -y]])
            view = cv2.warpAffine(picture, shift, (width, height)).astype(np.int16)
            view = np.clip(view + noises[number % len(noises)], 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(view, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def make_clip(path: Path, *, seconds: int = 8, width: int = 960, height: int = 540) -> Path:
    """Writes an H.264 clip with texture and motion, so that decoding it is real work."""
    rng = np.random.default_rng(0)
    table_top = rng.integers(90, 130, (height + 120, width + 120, 3), dtype=np.uint8)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "28"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = Fraction(1, 30)
        for index in range(30 * seconds):
            shift = int(60 + 50 * np.sin(index / 25))
            picture = table_top[shift : shift + height, shift : shift + width].copy()
            left = 4 * index % (width - 200)
            picture[200:320, left : left + 160] = (200, 150, 120)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def repeat_video(source: Path, target: Path, times: int, **options: str) -> Path:
    """Repeats a video packet by packet, without encoding; the options are the container's."""
    with av.open(str(source)) as read, av.open(str(target), "w", options=options) as write:
        stream = read.streams.video[0]
        copy = write.add_stream_from_template(stream)
        time_base = stream.time_base
        assert time_base is not None
        packets = [packet for packet in read.demux(stream) if packet.size]
        length = sum(packet.duration or 0 for packet in packets)
        contents = [(bytes(p), p.pts, p.dts, p.is_keyframe, p.duration) for p in packets]
        for turn in range(times):
            for data, pts, dts, is_keyframe, duration in contents:
                packet = av.Packet(data)
                packet.pts, packet.dts = (pts or 0) + turn * length, (dts or 0) + turn * length
                packet.is_keyframe, packet.duration = is_keyframe, duration
                packet.time_base, packet.stream = time_base, copy
                write.mux(packet)
    return target
