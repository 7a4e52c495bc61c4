"""VideoEncoder: the protocol of networks that turn windows of frames into features."""

from typing import Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from extract.contract import FeatureContract
from extract.decode.clip import Prepare


class VideoEncoder(Protocol):
    """Windows of frames to feature vectors, by any network."""

    @property
    def name(self) -> str:
        """Name in bundles and responses."""

    @property
    def dim(self) -> int:
        """Numbers in one feature vector, D_in."""

    @property
    def contract(self) -> FeatureContract:
        """How its windows are made."""

    @property
    def fingerprint(self) -> str:
        """Hash of weights, configuration and contract; equal means interchangeable features."""

    def encode(self, windows: Tensor) -> Tensor:
        """Returns features, (B, dim) float32, in inference mode; rows do not depend on each other.

        Args:
            windows: (B, T, H, W, 3) frames of the contract's `frame_shape`, or whole uint8 ones
                where it does not resize to bytes; T = window_frames / frame_step.
        """


@runtime_checkable
class FramePreparer(Protocol):
    """An encoder whose library resizes and normalises whole frames."""

    def prepare(self, frames: np.ndarray) -> np.ndarray:
        """Returns (n, crop_height, crop_width, 3) float32 of whole frames, (n, H, W, 3) uint8."""


def preparer(encoder: VideoEncoder) -> Prepare | None:
    """Returns what makes frames for windows of those that readers deliver; None: they are alike.

    Whole frames are large, so they are prepared as soon as they are read, each once.

    Raises:
        TypeError: the contract leaves frames whole, and the encoder cannot prepare them.
    """
    if not encoder.contract.is_whole:
        return None
    if not isinstance(encoder, FramePreparer):
        raise TypeError(f"encoder {encoder.name!r} takes whole frames and does not prepare them")
    return encoder.prepare
