"""Encoder loading: by the name of a published backbone, or from a bundle and its manifest entry."""

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from extract.contract import Color, FeatureContract
from extract.encoders.library.loading import load_library_encoder
from extract.encoders.library.spec import is_library_spec
from extract.encoders.library.timm_models import TimmConfig
from extract.encoders.library.transformers_models import TransformersConfig
from extract.encoders.omnivore import load_omnivore
from extract.encoders.slowfast import SlowFastConfig, load_slowfast
from extract.encoders.swin.trunk import SwinConfig
from extract.encoders.torch_encoder import TorchEncoder, TrunkConfig, load_encoder
from weights.bundle import load_bundle
from weights.errors import BundleMissing
from weights.published.catalogue import DOWNLOADS, FOLDER_VARIABLE, PUBLISHED
from weights.published.encoders import ENCODERS
from weights.published.fetch import load_fetched
from weights.storage.folders import Place, as_place

KINDS: Mapping[str, type[TrunkConfig]] = {
    config.kind: config for config in (SwinConfig, SlowFastConfig, TransformersConfig, TimmConfig)
}
"""Kind in a manifest -> configuration of that family of networks."""


LOADERS: dict[str, Callable[[Mapping[str, Tensor]], TorchEncoder]] = {
    "omnivore-swinl": load_omnivore,
    "slowfast-r101": load_slowfast,
}
"""Name of a published backbone -> function from its tensors to an encoder."""

SPEC_HELP = (
    f"{', '.join((*LOADERS, *ENCODERS))}; hf:PLACE or timm:PLACE, a folder or repository of a "
    "model of transformers or timm; or the folder or URL of a bundle that holds one"
)


def encoder_spec(encoder: TorchEncoder) -> dict[str, Any]:
    """Returns an encoder's entry in a bundle's manifest: plain JSON types."""
    origin = {"origin": encoder.origin} if encoder.origin else {}
    return {
        "name": encoder.name,
        "kind": encoder.config.kind,
        "config": encoder.config.to_dict(),
        "contract": encoder.contract.to_dict(),
        "fingerprint": encoder.fingerprint,
        **origin,
    }


def encoder_from_spec(spec: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> TorchEncoder:
    """Returns the encoder that a manifest's `encoder` entry describes.

    Args:
        spec: `name`, `kind` (of `KINDS`), `config`, `contract` and, optionally, `fingerprint` and
            `origin`.
        tensors: the trunk's weights.

    Raises:
        RuntimeUnavailable: the library that has its network is not installed.
        ValueError: the kind is unknown, an entry is missing, or the tensors do not fit or have
            another fingerprint.
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
    encoder.origin = dict(spec.get("origin") or {})
    expected = spec.get("fingerprint")
    if expected is not None and encoder.fingerprint != expected:
        raise ValueError(
            f"encoder {encoder.name!r}: expected fingerprint {expected}, "
            f"its tensors have {encoder.fingerprint}"
        )
    return encoder


def load_named_encoder(
    spec: str,
    *,
    weights: Path = DOWNLOADS,
    color: Color | None = None,
    accept_license: bool = False,
) -> TorchEncoder:
    """Returns the encoder of a name or place, on the CPU.

    Args:
        spec: name of a published backbone or encoder, the model of a library (see
            `library.spec`), or the folder or URL of a bundle.
        weights: where published backbones were fetched to, each in a folder of its name.
        color: colour matrix of the videos in place of the contract's; changes the fingerprint.
        accept_license: the terms of a library's model are accepted, whatever they are.

    Raises:
        WeightsError: it is not there, or not what it was, or its terms are not accepted.
        RuntimeUnavailable: its library is not installed.
        ValueError: the tensors do not make an encoder, or the bundle holds none.
    """
    if is_library_spec(spec):
        encoder = load_library_encoder(spec, weights=weights, accept_license=accept_license)
    else:
        encoder = _published(spec, weights) if spec in LOADERS else _of_bundle(as_place(spec))
    if color in (None, encoder.contract.color):
        return encoder
    contract = replace(encoder.contract, color=color)
    return TorchEncoder(encoder.name, encoder.config, contract, encoder.trunk, encoder.origin)


def add_encoder_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--weights`, `--color` and `--accept-license`, the options of `load_named_encoder`."""
    parser.add_argument(
        "--weights",
        type=Path,
        default=os.environ.get(FOLDER_VARIABLE) or DOWNLOADS,
        metavar="DIR",
        help="folder that published backbones were fetched to "
        f"(default: {FOLDER_VARIABLE}, else {DOWNLOADS})",
    )
    parser.add_argument(
        "--color",
        choices=("bt601", "tagged"),
        help="colour matrix of the videos (default: the encoder's own, bt601 for published ones)",
    )
    parser.add_argument(
        "--accept-license",
        action="store_true",
        help="accept the terms of an encoder whose licence may forbid commercial use",
    )


def _published(name: str, weights: Path) -> TorchEncoder:
    return LOADERS[name](load_fetched(PUBLISHED[name], weights / name))


def _of_bundle(place: Place) -> TorchEncoder:
    if isinstance(place, Path) and not place.is_dir():
        raise BundleMissing(f"{place}: expected {SPEC_HELP}; there is no such folder")
    bundle = load_bundle(place)
    if not bundle.encoder:
        raise ValueError(f"the bundle in {place} holds no encoder; name one: {SPEC_HELP}")
    return encoder_from_spec(bundle.manifest.encoder, bundle.encoder)
