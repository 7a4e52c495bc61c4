"""Bundle: manifest.json and safetensors, saved and loaded, every byte checked against its hash.

Loading never runs code from a bundle: safetensors hold numbers only, and an encoder's ONNX graph,
if there is one, is returned as bytes.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from weights.bundle.files import CARD_FILE, BundleFiles, read_files, write_files
from weights.bundle.manifest import Manifest
from weights.errors import BundleError
from weights.storage.cache import Cache
from weights.storage.folders import Place

Tensors = dict[str, Tensor]

ENCODER_FILE = "encoder.safetensors"
ONNX_FILE = "encoder.onnx"
BACKPACK_FILE = "backpack.safetensors"
FORECASTER_FILE = "forecaster.safetensors"


@dataclass(frozen=True, eq=False)
class Bundle:
    """A manifest and the tensors it describes.

    Attributes:
        manifest: description of the tensors.
        encoder: tensors of the video encoder; empty when the bundle expects features.
        backbones: name -> tensors of one temporal backbone and its known tasks' heads.
        skills: task -> tensors of one skill.
        backpack: "<backbone>.<task>" -> (P, D) prototypes, `<backbone>/` with `verb_id`, `noun_id`
            and `count`, (P,), and, if they were kept, `<backbone>/spread/<task>/` with a covariance
            and relative variances.
        card: text of the model card.
        sha256: hash of manifest.json, hence of everything; empty until saved.
        encoder_onnx: the encoder's graph, whose weights are the tensors of `encoder`; may be empty.
        forecaster: tensors of the sequence forecaster; may be empty.
    """

    manifest: Manifest
    encoder: Tensors
    backbones: dict[str, Tensors]
    skills: dict[str, Tensors]
    backpack: Tensors
    card: str = ""
    sha256: str = ""
    encoder_onnx: bytes = b""
    forecaster: Tensors = field(default_factory=dict)


def fingerprint(tensors: Mapping[str, Tensor], *facts: object) -> str:
    """Returns the SHA-256 of named tensors and plain facts; order of names does not matter."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def save_bundle(bundle: Bundle, folder: Path) -> Bundle:
    """Writes a bundle and returns it with its hashes filled in.

    The folder appears whole or not at all: files are written beside it and renamed.
    """
    payload = {f"backbone-{name}.safetensors": save(t) for name, t in bundle.backbones.items()}
    payload |= {f"skill-{name}.safetensors": save(t) for name, t in bundle.skills.items()}
    payload[BACKPACK_FILE] = save(bundle.backpack)
    if bundle.encoder:
        payload[ENCODER_FILE] = save(bundle.encoder)
    if bundle.encoder_onnx:
        payload[ONNX_FILE] = bundle.encoder_onnx
    if bundle.forecaster:
        payload[FORECASTER_FILE] = save(bundle.forecaster)
    payload[CARD_FILE] = bundle.card.encode()
    files = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for name, data in sorted(payload.items())
    }
    manifest = replace(bundle.manifest, files=files)
    text = json.dumps(manifest.to_dict(), indent=1, sort_keys=True).encode() + b"\n"
    write_files(BundleFiles(text, manifest, payload), folder)
    return replace(bundle, manifest=manifest, sha256=hashlib.sha256(text).hexdigest())


def load_bundle(place: Place, *, cache: Cache | None = None) -> Bundle:
    """Reads a bundle, checking every file against the manifest before using it.

    Raises:
        BundleError: a file is missing, changed, or not safetensors.
        BundleMissing, RemoteFailed: as `read_files`.
    """
    files = read_files(place, cache=cache)
    data, manifest = files.parts, files.manifest
    backpack = _tensors(data, BACKPACK_FILE)
    return Bundle(
        manifest=manifest,
        encoder=_tensors(data, ENCODER_FILE) if ENCODER_FILE in data else {},
        backbones={n: _tensors(data, f"backbone-{n}.safetensors") for n in manifest.backbones},
        skills={n: _tensors(data, f"skill-{n}.safetensors") for n in manifest.skills},
        backpack=backpack,
        card=data.get(CARD_FILE, b"").decode(),
        sha256=hashlib.sha256(files.text).hexdigest(),
        encoder_onnx=data.get(ONNX_FILE, b""),
        forecaster=_tensors(data, FORECASTER_FILE) if manifest.forecaster else {},
    )


def _tensors(data: dict[str, bytes], name: str) -> Tensors:
    if name not in data:
        raise BundleError(name, expected="to be listed in the manifest", found="no such entry")
    try:
        tensors: Tensors = load(data[name])
    except SafetensorError as error:
        raise BundleError(name, expected="safetensors", found=str(error)) from error
    return tensors
