"""Clips to send, made on the spot: good ones of several sizes, and broken ones."""

import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.latency import make_clip


@dataclass(frozen=True)
class LoadClip:
    """A clip and what may become of it.

    Attributes:
        name: what it is.
        body: its bytes.
        statuses: every answer it may get from a server that is not full.
        weight: how often it is sent beside the others.
    """

    name: str
    body: bytes
    statuses: frozenset[int] = frozenset({200})
    weight: float = 1.0


SIZES = {
    "8 s of 960x540": (8, 960, 540, 1.0),
    "4 s of 640x360": (4, 640, 360, 1.0),
    "2 s of 426x320": (2, 426, 320, 2.0),
}
"""Good clips: name -> seconds, width, height, weight."""


def standard_clip() -> LoadClip:
    """The clip that speed is quoted for."""
    return _good("8 s of 960x540", seconds=8, width=960, height=540, weight=1.0)


def small_clip() -> LoadClip:
    """A clip that costs the server as little as a clip can while it still fills a window."""
    return _good("2 s of 426x320", seconds=2, width=426, height=320, weight=1.0)


def good_clips() -> list[LoadClip]:
    """Clips that every server should answer."""
    return [
        _good(name, seconds=seconds, width=width, height=height, weight=weight)
        for name, (seconds, width, height, weight) in SIZES.items()
    ]


def broken_clips() -> list[LoadClip]:
    """Clips that every server should refuse, or answer in part; each for another reason."""
    whole = small_clip().body
    middle = len(whole) // 2
    refused = frozenset({400, 415, 422})
    noise = random.Random(0).randbytes(4096)
    return [
        LoadClip("nothing", b"", refused, 0.25),
        LoadClip("text", b"not a video at all\n" * 200, refused, 0.25),
        LoadClip("playlist", b"#EXTM3U\n#EXTINF:1,\nfile:///dev/zero\n", refused, 0.25),
        LoadClip("noise", noise, refused, 0.25),
        LoadClip("first half", whole[:middle], refused, 0.25),
        LoadClip("index and noise", whole[:2048] + noise, refused, 0.25),
        LoadClip(
            "noise in the middle",
            whole[:middle] + noise + whole[middle + len(noise) :],
            refused | {200},
            0.25,
        ),
    ]


def draw(clips: Sequence[LoadClip], *, seed: int) -> Iterator[LoadClip]:
    """Yields clips for ever, each as often as its weight says."""
    chance = random.Random(seed)
    weights = [clip.weight for clip in clips]
    while True:
        yield chance.choices(clips, weights)[0]


def _good(name: str, *, seconds: int, width: int, height: int, weight: float) -> LoadClip:
    with tempfile.TemporaryDirectory() as folder:
        path = make_clip(Path(folder) / "clip.mp4", seconds=seconds, width=width, height=height)
        return LoadClip(name, path.read_bytes(), weight=weight)
