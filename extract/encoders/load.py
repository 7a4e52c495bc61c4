"""An encoder from what a bundle says of it."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from extract.contract import FeatureContract
from extract.encoders.slowfast import SlowFastConfig
from extract.encoders.swin.trunk import SwinConfig
from extract.encoders.torch_encoder import TorchEncoder, load_encoder

KINDS: Mapping[str, type[SwinConfig] | type[SlowFastConfig]] = {
    config.kind: config for config in (SwinConfig, SlowFastConfig)
}
"""What a manifest calls a family of networks -> its configuration."""


def encoder_spec(encoder: TorchEncoder) -> dict[str, Any]:
    """Returns what a bundle's manifest says of an encoder: plain JSON types."""
    return {
        "name": encoder.name,
        "kind": encoder.config.kind,
        "config": encoder.config.to_dict(),
        "contract": encoder.contract.to_dict(),
        "fingerprint": encoder.fingerprint,
    }


def encoder_from_spec(spec: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> TorchEncoder:
    """Returns the encoder that a manifest's `encoder` entry describes.

    Args:
        spec: `name`, `kind` (of `KINDS`), `config`, `contract` and, optionally, `fingerprint`.
        tensors: the trunk's weights.

    Raises:
        ValueError: the kind is unknown, an entry is missing, the tensors do not fit, or they are
            not those the fingerprint was taken of.
    """
    missing = {"name", "kind", "config", "contract"} - set(spec)
    if missing:
        raise ValueError(f"encoder entry lacks {', '.join(sorted(missing))}")
    if spec["kind"] not in KINDS:
        raise ValueError(f"unknown encoder kind {spec['kind']!r}; known: {', '.join(KINDS)}")
    encoder = load_encoder(
        spec["name"],
        KINDS[spec["kind"]].from_dict(spec["config"]),
        FeatureContract.from_dict(spec["contract"]),
        tensors,
    )
    expected = spec.get("fingerprint")
    if expected is not None and encoder.fingerprint != expected:
        raise ValueError(
            f"encoder {encoder.name!r}: expected fingerprint {expected}, "
            f"its tensors have {encoder.fingerprint}"
        )
    return encoder
