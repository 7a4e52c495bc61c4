"""Encoder specs of libraries: LIBRARY:PLACE[@REVISION][,OPTION=VALUE...], or a published name."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args

from extract.encoders.library.trunk import Layer, Pooling
from weights.published.encoders import ENCODERS

CONTRACT_OPTIONS = ("fps", "window_frames", "stride_frames", "frame_step")

Library = Literal["hf", "timm"]

_REPOSITORY = re.compile(r"[\w.\-]+/[\w.\-]+")


@dataclass(frozen=True)
class LibrarySpec:
    """An encoder of a library, parsed.

    Attributes:
        name: of the encoder.
        library: "hf": transformers; "timm".
        place: a folder, a repository of the hub, or an architecture of timm.
        revision: of the repository; None: its main branch.
        licence: as the catalogue states it; None for what is not in it.
        layer: see `LibraryConfig`.
        pooling: see `LibraryConfig`; None: the model's default.
        options: of the contract, see `contract_of`.
    """

    name: str
    library: Library
    place: str
    revision: str | None = None
    licence: str | None = None
    layer: Layer = "last"
    pooling: Pooling | None = None
    options: dict[str, int] = field(default_factory=dict)

    @property
    def is_repository(self) -> bool:
        """Whether the place can be a repository of a hub."""
        return _REPOSITORY.fullmatch(self.place) is not None


def is_library_spec(spec: str) -> bool:
    """Returns whether a spec names an encoder of a library; hf://OWNER/NAME names a bundle."""
    if spec.startswith("hf://"):
        return False
    return spec.startswith(("hf:", "timm:")) or re.split("[,@]", spec)[0] in ENCODERS


def parse_spec(spec: str) -> LibrarySpec:
    """Returns what a spec says.

    Raises:
        ValueError: an option is unknown, or has no such value.
    """
    source, *pairs = re.split(r",(?=\w+=)", spec)
    values = dict(_option(spec, pair) for pair in pairs)
    layer = cast(Layer, values.pop("layer", "last"))
    pooling = cast(Pooling | None, values.pop("pooling", None))
    if layer != "last" and pooling == "pooled":
        raise ValueError(f"{spec}: pooling=pooled is of the last layer; take mean or first")
    options = cast(dict[str, int], values)
    source, revision = _revision(source)
    if source in ENCODERS:
        known = ENCODERS[source]
        of, at = cast(Library, known.library), known.repository
        return LibrarySpec(source, of, at, revision, known.licence, layer, pooling, options)
    library, _, place = source.partition(":")
    if not place:
        raise ValueError(f"{spec}: expected {library}: and a folder or a repository, owner/name")
    name = Path(place).resolve().name if Path(place).is_dir() else place.rpartition("/")[2]
    return LibrarySpec(name, cast(Library, library), place, revision, None, layer, pooling, options)


def _revision(source: str) -> tuple[str, str | None]:
    """Returns a source without its revision, and the revision; a folder's name may have an @."""
    place, _, revision = source.rpartition("@")
    if not place or (":" in source and Path(source.partition(":")[2]).is_dir()):
        return source, None
    return place, revision or None


def _option(spec: str, pair: str) -> tuple[str, object]:
    name, _, text = pair.partition("=")
    if name == "pooling" and text in get_args(Pooling):
        return name, text
    if name == "layer" and (text == "last" or (text.isdecimal() and int(text) > 0)):
        return name, text if text == "last" else int(text)
    if name in CONTRACT_OPTIONS and text.isdecimal() and int(text) > 0:
        return name, int(text)
    raise ValueError(
        f"{spec}: {pair!r}: expected {', '.join(CONTRACT_OPTIONS)} with a whole number from 1, "
        "layer with last or the number of a block from 1, or pooling with "
        f"{', '.join(get_args(Pooling))}"
    )
