"""Library encoders from a folder, a hub or fetched weights, once their licence is settled."""

import json
from pathlib import Path

from extract.encoders.library import timm_models, transformers_models
from extract.encoders.library.spec import LibrarySpec, parse_spec
from extract.encoders.torch_encoder import TorchEncoder
from weights.errors import FetchFailed
from weights.published.hub import Snapshot, check_licence, fetch_snapshot, licence_of

ADAPTERS = {"hf": transformers_models.adapt, "timm": timm_models.adapt}


def load_library_encoder(spec: str, *, weights: Path, accept_license: bool = False) -> TorchEncoder:
    """Returns the encoder that a spec of `spec.parse_spec` names, on the CPU, in float32.

    Args:
        spec: see `spec`.
        weights: folder with a folder for each published name or architecture, asked before a hub.
        accept_license: terms that have to be accepted are.

    Raises:
        FetchFailed, BundleMissing, RemoteFailed: it is nowhere, or the hub is out of reach.
        TermsNotAccepted: its licence has to be accepted.
        RuntimeUnavailable: its library is not installed.
        ValueError: the spec is malformed, or the files are no model that can be an encoder.
    """
    wanted = parse_spec(spec)
    found = _find(wanted, weights)
    check_files(found.folder)
    licence = licence_of(found.folder) or wanted.licence
    check_licence(wanted.name, licence, is_accepted=accept_license)
    encoder = ADAPTERS[wanted.library](
        found.folder,
        wanted.name,
        layer=wanted.layer,
        pooling=wanted.pooling,
        options=wanted.options,
    )
    encoder.origin = {
        key: value
        for key, value in (
            ("repository", wanted.place if found.commit else ""),
            ("revision", found.commit),
            ("licence", licence or ""),
        )
        if value
    }
    return encoder


def check_files(folder: Path) -> None:
    """Refuses a folder whose model cannot be had from configuration and safetensors alone.

    Raises:
        ValueError: it needs code of its own, or holds no safetensors.
    """
    config = folder / "config.json"
    if config.is_file():
        try:
            values = json.loads(config.read_bytes())
        except ValueError as error:
            raise ValueError(f"{config}: not JSON: {error}") from error
        if isinstance(values, dict) and values.get("auto_map"):
            raise ValueError(
                f"{config}: 'auto_map' asks for code from its repository, which is never run; "
                "take a model whose class is in the library itself"
            )
    if not any(folder.glob("*.safetensors")):
        pickles = sorted(p.name for p in folder.glob("*") if p.suffix in (".bin", ".pt", ".pth"))
        also = f"; {pickles[0]} is a pickle, which is never read" if pickles else ""
        raise ValueError(
            f"{folder}: expected weights as *.safetensors, found none{also}: save the model again "
            "with the library's save_pretrained, or take a revision that has them"
        )


def _find(wanted: LibrarySpec, weights: Path) -> Snapshot:
    """Returns where a model's files are: a folder, fetched weights, or a hub's cache."""
    for folder in (Path(wanted.place), weights / wanted.name):
        if wanted.revision is None and folder.is_dir() and any(folder.iterdir()):
            return Snapshot(folder, "")
    if not wanted.is_repository:
        raise FetchFailed(
            f"{wanted.place}: expected a folder, a repository (owner/name), or weights in "
            f"{weights / wanted.name}; there is none of them"
        )
    return fetch_snapshot(wanted.place, wanted.revision)
