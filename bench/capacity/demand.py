"""Demand: the mix of clips, their rate, and the terms on which they are answered."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from extract.windows import cut_windows

CLOCK_FPS = 30
"""Windows are cut on this clock, whatever the clip's own is."""

STEP_S = 16 / CLOCK_FPS
"""Of a live stream, from one window to the next: each is encoded and answered alone."""

_PICTURE = re.compile(r"(?P<width>\d+)x(?P<height>\d+)(?:@(?P<fps>[\d.]+))?")
_CLIP = re.compile(
    r"(?P<seconds>[\d.]+)s?:(?P<width>\d+)x(?P<height>\d+)(?:@(?P<fps>[\d.]+))?(?:=(?P<share>[\d.]+))?"
)


@dataclass(frozen=True)
class Clip:
    """One kind of clip.

    Attributes:
        seconds: of video.
        width: of a picture.
        height: of a picture.
        fps: pictures a second.
        share: how often it comes beside the others; any positive number.
    """

    seconds: float
    width: int
    height: int
    fps: float = 30.0
    share: float = 1.0

    @property
    def frames(self) -> int:
        """Pictures to decode."""
        return max(1, round(self.seconds * self.fps))

    @property
    def windows(self) -> int:
        """Windows to encode."""
        return len(cut_windows(max(1, round(self.seconds * CLOCK_FPS))))

    @property
    def megapixels(self) -> float:
        """Of one picture."""
        return self.width * self.height / 1e6

    def __str__(self) -> str:
        return f"{self.seconds:g} s of {self.width}x{self.height} at {self.fps:g} fps"


STANDARD = Clip(8, 960, 540)


@dataclass(frozen=True)
class Demand:
    """A load.

    Attributes:
        clips: the mix; shares are of their sum.
        rate: clips a second.
        job_share: of the clips that come as jobs, which are kept in a database.
        mbit_per_s: of the video itself, while it plays.
        is_live: the clips are steps of live streams, each of which has a decoding process.
    """

    clips: tuple[Clip, ...] = (STANDARD,)
    rate: float = 1.0
    job_share: float = 0.0
    mbit_per_s: float = 4.0
    is_live: bool = False

    @classmethod
    def of_streams(cls, streams: float, clips: Sequence[Clip], **rest: Any) -> "Demand":
        """Returns the load of continuous cameras, cut into such clips without overlap."""
        mean_s = cls(tuple(clips)).seconds_per_clip
        return cls(tuple(clips), rate=streams / mean_s, **rest)

    @property
    def shares(self) -> list[float]:
        """Of each kind, one in all."""
        whole = sum(clip.share for clip in self.clips)
        return [clip.share / whole for clip in self.clips]

    @property
    def seconds_per_clip(self) -> float:
        """Of video, on average."""
        return self.mean([clip.seconds for clip in self.clips])

    @property
    def streams(self) -> float:
        """Equivalent number of continuous cameras: seconds of video per second."""
        return self.rate * self.seconds_per_clip

    def mean(self, values: Sequence[float]) -> float:
        """Returns the mean over clips of one value for each kind."""
        return sum(s * v for s, v in zip(self.shares, values, strict=True))


@dataclass(frozen=True)
class Terms:
    """Target, machine sizes, limits and prices.

    Attributes:
        target_s: limit of the 99th percentile of latency.
        box_cores: cores of a machine without a GPU.
        busy_cores: limit of the cores' utilisation.
        busy_gpus: of the GPUs'.
        busy_loops: of the event loops'.
        batch_windows: most windows that a GPU encodes together.
        link_gbit_s: of the network of a front end or a machine.
        busy_links: limit of the links' utilisation.
        writes_per_s: that a database takes.
        core_hour: price of a core and its memory for an hour.
        gpu_hour: price of a GPU for an hour.
        currency: of both.
    """

    target_s: float = 2.0
    box_cores: int = 2
    busy_cores: float = 0.7
    busy_gpus: float = 0.8
    busy_loops: float = 0.5
    batch_windows: int = 64
    link_gbit_s: float = 10.0
    busy_links: float = 0.5
    writes_per_s: float = 2000.0
    core_hour: float = 0.04
    gpu_hour: float = 2.5
    currency: str = "EUR"


def parse_clip(text: str) -> Clip:
    """Returns a clip of `SECONDS:WIDTHxHEIGHT[@FPS][=SHARE]`.

    Raises:
        ValueError: it says something else, or a number is not positive.
    """
    found = _CLIP.fullmatch(text)
    if found is None:
        raise ValueError(
            f"expected SECONDS:WIDTHxHEIGHT[@FPS][=SHARE], as 8:960x540@30, got {text!r}"
        )
    clip = Clip(
        float(found["seconds"]),
        int(found["width"]),
        int(found["height"]),
        float(found["fps"] or 30),
        float(found["share"] or 1),
    )
    if min(clip.seconds, clip.width, clip.height, clip.fps, clip.share) <= 0:
        raise ValueError(f"expected positive numbers, got {text!r}")
    return clip


def parse_live(text: str) -> Clip:
    """Returns a step of live streams of `WIDTHxHEIGHT[@FPS]`.

    Raises:
        ValueError: it says something else, or a number is not positive.
    """
    if _PICTURE.fullmatch(text) is None:
        raise ValueError(f"expected WIDTHxHEIGHT[@FPS], as 1280x720@30, got {text!r}")
    return parse_clip(f"{STEP_S}:{text}")
