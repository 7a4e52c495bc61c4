"""The FFmpeg program: makes files that no library writes, and says what a file really shows."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg
import numpy as np

from extract.contract import FeatureContract, crop_offset, resized_size

PROGRAM = imageio_ffmpeg.get_ffmpeg_exe()


def ffmpeg(*arguments: str | Path, frames: list[np.ndarray] | None = None, rate: str = "30"):
    """Runs it; frames, if any, are its first input."""
    given = []
    if frames is not None:
        height, width = frames[0].shape[:2]
        shape = ["-s", f"{width}x{height}", "-r", rate]
        given = ["-f", "rawvideo", "-pix_fmt", "rgb24", *shape, "-i", "-"]
    subprocess.run(
        [PROGRAM, "-v", "error", "-y", *given, *map(str, arguments)],
        input=None if frames is None else b"".join(frame.tobytes() for frame in frames),
        check=True,
        capture_output=True,
    )


@dataclass(frozen=True)
class Shown:
    """What a file shows.

    Attributes:
        times_s: (n,) of each picture, on the container's clock.
        end_s: when the last one stops being shown.
        pictures: (n, crop_height, crop_width, 3) uint8.
    """

    times_s: np.ndarray
    end_s: float
    pictures: np.ndarray


def shown_by(path: Path, contract: FeatureContract, size: tuple[int, int], track: int) -> Shown:
    """Returns what FFmpeg shows of a file, resized and cropped as a contract says.

    Args:
        path: the file.
        contract: with resize "decoder".
        size: width and height of a picture as it should be shown.
        track: which of its video tracks.
    """
    width, height = resized_size(*size, contract)
    x, y = crop_offset(width, height, contract)
    steps = [
        "showinfo",
        f"scale={width}:{height}:flags=bicubic",
        "format=rgb24",
        f"crop={contract.crop_width}:{contract.crop_height}:{x}:{y}:exact=1",
    ]
    command = [PROGRAM, "-hide_banner", "-nostats", "-copyts", "-i", str(path)]
    command += ["-map", f"0:v:{track}", "-fps_mode", "passthrough", "-vf", ",".join(steps)]
    ran = subprocess.run([*command, "-f", "rawvideo", "-"], check=True, capture_output=True)
    times = re.findall(
        rb"n: *\d+ pts: *\S+ pts_time:(\S+) +duration: *\S+ duration_time:(\S+)", ran.stderr
    )
    shown = np.array(times, dtype=np.float64)
    shape = (-1, contract.crop_height, contract.crop_width, 3)
    pictures = np.frombuffer(ran.stdout, np.uint8).reshape(shape)
    assert len(pictures) == len(shown) > 0, ran.stderr.decode()
    return Shown(shown[:, 0], float(shown[-1].sum()), pictures)
