"""Generated clips to send: valid ones of several sizes, and broken ones."""

import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.videos import make_clip


@dataclass(frozen=True)
class LoadClip:
    """A clip and its expected statuses.

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


STANDARD, MIDDLE, SMALL = "8 s of 960x540", "4 s of 640x360", "2 s of 426x320"

GOOD = {STANDARD: (8, 960, 540, 1.0), MIDDLE: (4, 640, 360, 1.0), SMALL: (2, 426, 320, 2.0)}
"""Clips to be answered: name -> seconds, width, height, weight. Speed is quoted for the first."""


def good_clips(*names: str) -> list[LoadClip]:
    """Returns valid clips; all of them if none is named."""
    return [_good(name, *GOOD[name]) for name in names or GOOD]


def broken_clips() -> list[LoadClip]:
    """Clips that a server should refuse, or answer in part, for different reasons."""
    whole = good_clips(SMALL)[0].body
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
    """Yields random clips by weight, endlessly."""
    chance = random.Random(seed)
    weights = [clip.weight for clip in clips]
    while True:
        yield chance.choices(clips, weights)[0]


def _good(name: str, seconds: int, width: int, height: int, weight: float) -> LoadClip:
    with tempfile.TemporaryDirectory() as folder:
        path = make_clip(Path(folder) / "clip.mp4", seconds=seconds, width=width, height=height)
        return LoadClip(name, path.read_bytes(), weight=weight)
