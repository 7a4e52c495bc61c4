"""VideoEncoder: the protocol of networks that turn windows of frames into features."""

from typing import Protocol

from torch import Tensor

from extract.contract import FeatureContract


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
            windows: (B, T, H, W, 3) frames as decoding delivers them, see `FeatureContract`, or
                whole ones where the contract resizes floats; T = window_frames / frame_step.
        """
