"""A clip decoded here by a reader of choice, and a contract whose windows look at every frame."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from extract.contract import OMNIVORE, TABLETOP, FeatureContract
from extract.decode.clip import TRUSTED, Limits, ReaderChoice
from extract.decode.video import ClipFacts, decode_into

EVERY = replace(TABLETOP, frame_step=1)

WHOLE = replace(OMNIVORE, short_side=48, crop_height=48, crop_width=64)
"""Resizes floats, but numbered clips to the size they have: its pixels are the decoder's own."""

SHORT = replace(TRUSTED, is_stream=False)
"""As for a clip that somebody waits for: decord may read it."""


class Frames:
    """A sink that keeps its blocks."""

    def __init__(self) -> None:
        self.blocks: list[np.ndarray] = []
        self.expected = 0

    def expect(self, num_frames: int) -> None:
        self.expected = num_frames

    def append(self, block: np.ndarray) -> None:
        self.blocks.append(block)

    def restart(self) -> None:
        self.blocks.clear()


def decode(
    path: Path,
    contract: FeatureContract = TABLETOP,
    choice: ReaderChoice = "auto",
    limits: Limits = SHORT,
    video_track: int | None = None,
) -> tuple[ClipFacts, np.ndarray]:
    """Returns the facts of a clip and its frames."""
    sink = Frames()
    facts = decode_into(path, contract, limits, sink, choice, video_track=video_track)
    return facts, np.concatenate(sink.blocks)


def four_bytes(picture: np.ndarray) -> np.ndarray:
    """Returns an RGB picture as `resize` wants it, with a fourth channel that is to be ignored."""
    noise = np.random.default_rng(0).integers(0, 256, (*picture.shape[:2], 1), dtype=np.uint8)
    return np.concatenate([picture, noise], axis=-1)
