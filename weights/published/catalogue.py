"""Backbones that others publish: where they are and on what terms. None of them ships with us."""

from dataclasses import dataclass
from pathlib import Path

DOWNLOADS = Path("work/weights")
"""Where fetched backbones are kept, each in a folder of its name."""

FOLDER_VARIABLE = "EGOPACK_WEIGHTS"
"""Names another place for them."""


@dataclass(frozen=True)
class Published:
    """One checkpoint on its publisher's site.

    Attributes:
        name: what our commands call it.
        kind: of network.
        source: where it is published, in words.
        url: its address there.
        entry: the state dict in it that makes features; classifiers beside it are not kept.
        licence: short name of the terms.
        terms: what they ask for, in words.
        non_commercial: whether they bind more than giving credit does.
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
        """Name of the file that is published."""
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
