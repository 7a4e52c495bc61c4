"""Precomputed features: the stand-in for an encoder in a bundle that holds none."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from torch import Tensor

from extract.contract import OMNIVORE, FeatureContract
from extract.encoders.encoder import VideoEncoder

MADE_BY = {
    "omnivore_video_swinl": "omnivore-swinl",
    "omnivore_video_swinl_fp16": "omnivore-swinl",
    "slowfast8x8_r101_k400": "slowfast-r101",
}
"""Ego4D's feature sets -> name of the encoder that made them."""


@dataclass(frozen=True)
class PrecomputedFeatures:
    """A `VideoEncoder` that has a name and a width and cannot be run.

    Attributes:
        name: of the feature set, as Ego4D's release calls its folder.
        dim: D_in.
        fingerprint: empty: released features do not state the weights that made them.
        contract: of the released features: 32 frames every 16 at 30 fps.
    """

    name: str
    dim: int
    fingerprint: str = ""
    contract: FeatureContract = OMNIVORE

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], dim: int) -> "PrecomputedFeatures":
        """Reads a manifest's `encoder` entry of kind "features".

        Raises:
            ValueError: it names no feature set.
        """
        name = spec.get("name")
        if not isinstance(name, str) or not name:
            raise ValueError(f"expected the name of a feature set, got {name!r}")
        return cls(name, dim)

    def made_by(self, encoder: VideoEncoder) -> VideoEncoder:
        """Returns the encoder, once it is checked to make these features.

        Raises:
            ValueError: it makes other features.
        """
        name = MADE_BY.get(self.name, self.name)
        if (encoder.name, encoder.dim) != (name, self.dim):
            raise ValueError(
                f"expected an encoder that makes {self.name}, {name} with {self.dim} numbers; "
                f"got {encoder.name} with {encoder.dim}"
            )
        return encoder

    def encode(self, windows: Tensor) -> NoReturn:
        """Raises TypeError: there is no network."""
        raise TypeError(f"there is no network to make {self.name} features with")
