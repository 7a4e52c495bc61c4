"""Generated videos: a textured picture that moves like that of a head-worn camera."""

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


def repeat_video(source: Path, target: Path, times: int) -> Path:
    """Repeats a video packet by packet, without encoding."""
    with av.open(str(source)) as read, av.open(str(target), "w") as write:
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
