"""The published backbones in their own layout, but narrow: fetched, and loaded by their names."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from extract.encoders import load
from extract.encoders.omnivore import load_omnivore
from extract.encoders.slowfast import load_slowfast
from extract.encoders.swin.trunk import OMNIVORE_SWINL
from tests.extract.encoders import test_omnivore, test_slowfast
from weights.published.catalogue import PUBLISHED
from weights.published.fetch import fetch

SMALL_SWIN = replace(OMNIVORE_SWINL, width=6, heads=(1, 2, 3, 6), depths=(1, 1, 1, 1))
SMALL_SLOWFAST = test_slowfast.SMALL
DIMS = {"omnivore-swinl": 48, "slowfast-r101": 288}


def use_small(patch: pytest.MonkeyPatch) -> None:
    """The published names stand for the narrow networks."""
    loaders = {
        "omnivore-swinl": lambda tensors: load_omnivore(tensors, config=SMALL_SWIN),
        "slowfast-r101": lambda tensors: load_slowfast(tensors, config=SMALL_SLOWFAST),
    }
    for name, loader in loaders.items():
        patch.setitem(load.LOADERS, name, loader)


def fetch_small(weights: Path) -> Path:
    """Converts both from checkpoints of the published layout; returns the folder of folders."""
    entries = {
        "omnivore-swinl": test_omnivore.published_layout(SMALL_SWIN),
        "slowfast-r101": test_slowfast.published_layout(SMALL_SLOWFAST),
    }
    for name, tensors in entries.items():
        backbone, folder = PUBLISHED[name], weights / name
        folder.mkdir(parents=True)
        torch.save({backbone.entry: tensors, "epoch": 3}, folder / backbone.file)
        fetch(backbone, folder)
    return weights
