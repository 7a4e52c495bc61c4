"""Prepared data set: samples of every split, label spaces, and the encoder of the features."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from tqdm import tqdm

from model.config import ModelConfig
from model.data.samples import Samples
from model.tasks import FIXED_LABELS


@dataclass(frozen=True, eq=False)
class Prepared:
    """A data set, ready for training.

    Attributes:
        samples: split -> task -> samples; labelled splits only.
        labels: label space -> names by id, the fixed ones aside.
        encoder: the manifest's entry on the encoder.
        encoder_tensors: its weights; empty when features came from files.
        key: hash of all of it.
        data: description of the data set for the model card.
        facts: further entries of the manifest's `training`, such as the licence.
        actions: what the backpack is filled from; None takes AR's training samples.
    """

    samples: dict[str, dict[str, Samples]]
    labels: dict[str, list[str]]
    encoder: dict[str, Any]
    encoder_tensors: dict[str, Tensor]
    key: str
    data: str
    facts: dict[str, object]
    actions: Samples | None = None

    @property
    def input_size(self) -> int:
        """D_in of the features."""
        anything = next(iter(self.samples["train"].values()))
        return anything.tracks.features.shape[1]

    @property
    def windows(self) -> tuple[int, int]:
        """Frames in a window of the features, and between the starts of two."""
        stated = self.encoder.get("contract", {})
        usual = ModelConfig()
        return (
            stated.get("window_frames", usual.window_frames),
            stated.get("stride_frames", usual.stride_frames),
        )

    @property
    def num_labels(self) -> dict[str, int]:
        """Classes of every label space, the fixed ones included."""
        return {name: len(names) for name, names in (self.labels | FIXED_LABELS).items()}


@contextmanager
def progress_bar(
    label: str, unit: str = "video", *, shown: bool = True
) -> Iterator[Callable[[int, int], None]]:
    """Yields a callback (done, total) that moves a progress bar."""
    with tqdm(desc=label, unit=unit, disable=not shown) as bar:

        def advance(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield advance
