"""What training starts from: samples of every split, label spaces, who made the features."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from model.data.samples import Samples
from model.tasks import FIXED_LABELS


@dataclass(frozen=True, eq=False)
class Prepared:
    """A data set, ready to be learnt from.

    Attributes:
        samples: split -> task -> samples; only splits whose labels are at hand.
        labels: "verb" and "noun" -> names.
        encoder: what a bundle's manifest says of the encoder.
        encoder_tensors: its weights; empty when features came from files.
        key: hash of all of it.
        data: the data set, in words, for the model card.
        facts: how it was made: what a model card should know besides.
    """

    samples: dict[str, dict[str, Samples]]
    labels: dict[str, list[str]]
    encoder: dict[str, Any]
    encoder_tensors: dict[str, Tensor]
    key: str
    data: str
    facts: dict[str, object]

    @property
    def input_size(self) -> int:
        """D_in of the features."""
        anything = next(iter(self.samples["train"].values()))
        return anything.tracks.features.shape[1]

    @property
    def num_labels(self) -> dict[str, int]:
        """Classes of every label space, the fixed ones included."""
        return {name: len(names) for name, names in (self.labels | FIXED_LABELS).items()}
