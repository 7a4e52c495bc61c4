"""Catalogue of published encoders of transformers and timm: repository, licence, size, windows.

None ships with the project. A card that comes with the weights has the last word on the licence.
"""

from dataclasses import dataclass

FREE = frozenset(
    ("apache-2.0", "mit", "bsd", "bsd-2-clause", "bsd-3-clause", "isc", "unlicense")
    + ("cc0-1.0", "cc-by-4.0")
)
"""Licences, as cards name them, under which commercial use needs no consent."""


@dataclass(frozen=True)
class PublishedEncoder:
    """One encoder on a hub.

    Attributes:
        name: in our commands.
        source: library that has its network and repository on the hub, as `--encoder` takes it.
        licence: as the publisher states it.
        parameters: of the part that is used, in millions.
        width: numbers in one feature vector.
        pixels: side of a prepared frame.
        frames: of a window that go into the network.
    """

    name: str
    source: str
    licence: str
    parameters: int
    width: int
    pixels: int
    frames: int

    @property
    def library(self) -> str:
        """Hf (transformers) or timm."""
        return self.source.partition(":")[0]

    @property
    def repository(self) -> str:
        """owner/name."""
        return self.source.partition(":")[2]


def _row(name: str, source: str, licence: str, *sizes: int) -> tuple[str, PublishedEncoder]:
    return name, PublishedEncoder(name, source, licence, *sizes)


_PE = "timm:timm/vit_pe_core"
_SO = "hf:google/siglip2-so400m-patch14-224"

ENCODERS = dict(
    [
        _row("vjepa2-l", "hf:facebook/vjepa2-vitl-fpc64-256", "mit", 304, 1024, 256, 64),
        _row("vjepa2-h", "hf:facebook/vjepa2-vith-fpc64-256", "mit", 632, 1280, 256, 64),
        _row("vjepa2-g", "hf:facebook/vjepa2-vitg-fpc64-256", "apache-2.0", 1012, 1408, 256, 64),
        _row("siglip2-b", "hf:google/siglip2-base-patch16-224", "apache-2.0", 93, 768, 224, 4),
        _row("siglip2-so400m", _SO, "apache-2.0", 428, 1152, 224, 4),
        _row("pe-core-t", f"{_PE}_tiny_patch16_384.fb", "apache-2.0", 6, 192, 384, 4),
        _row("pe-core-s", f"{_PE}_small_patch16_384.fb", "apache-2.0", 24, 384, 384, 4),
        _row("pe-core-b", f"{_PE}_base_patch16_224.fb", "apache-2.0", 93, 768, 224, 4),
        _row("pe-core-l", f"{_PE}_large_patch14_336.fb", "apache-2.0", 316, 1024, 336, 4),
        _row("pe-core-g", f"{_PE}_gigantic_patch14_448.fb", "apache-2.0", 1880, 1536, 448, 4),
    ]
)
"""Name -> encoder."""
