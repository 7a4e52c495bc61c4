"""Catalogue of published backbones: address, licence, hash. None ships with the project."""

from dataclasses import dataclass
from pathlib import Path

DOWNLOADS = Path("work/weights")
"""Default folder of fetched backbones, each in a folder of its name."""

FOLDER_VARIABLE = "EGOPACK_WEIGHTS"
"""Environment variable with another folder for them."""


@dataclass(frozen=True)
class Published:
    """One checkpoint on its publisher's site.

    Attributes:
        name: in our commands.
        kind: of network.
        source: publisher and model, in words.
        url: address of the file.
        entry: the state dict of the trunk; others, such as classifiers, are not kept.
        licence: short name of the terms.
        terms: their obligations, in words.
        non_commercial: whether they have to be accepted.
        sha256: of the file, in hexadecimal; None where the publisher states none.
    """

    name: str
    kind: str
    source: str
    url: str
    entry: str
    licence: str
    terms: str
    non_commercial: bool
    sha256: str | None = None

    @property
    def file(self) -> str:
        """Name of the published file."""
        return self.url.rpartition("/")[2]


PUBLISHED = {
    backbone.name: backbone
    for backbone in (
        Published(
            name="omnivore-swinl",
            kind="swin",
            source="model zoo of facebookresearch/omnivore: Swin-L (IN21k)",
            url="https://dl.fbaipublicfiles.com/omnivore/models/swinL_In21k_checkpoint.torch",
            entry="trunk",
            licence="CC BY-NC 4.0",
            terms="Credit its authors (Girdhar et al., Omnivore, CVPR 2022), say what you changed, "
            "and make no commercial use of it: https://creativecommons.org/licenses/by-nc/4.0/",
            non_commercial=True,
        ),
        Published(
            name="slowfast-r101",
            kind="slowfast",
            source="model zoo of facebookresearch/pytorchvideo: SlowFast R101 8x8, Kinetics-400",
            url="https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/"
            "SLOWFAST_8x8_R101.pyth",
            entry="model_state",
            licence="Apache-2.0",
            terms="The licence of the repository that publishes it: "
            "https://www.apache.org/licenses/LICENSE-2.0",
            non_commercial=False,
        ),
    )
}
"""Name -> backbone. The first made Ego4D's `omnivore_video_swinl`, the second its SlowFast set."""
