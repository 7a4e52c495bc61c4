"""Voters of a few-label skill: what each reads, how it is fitted, and what it needs of a bundle.

All but the cache of examples are linear in what they read, so a fitted voter is a matrix.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from model.nn.backpack import Backpack
from model.nn.few_labels.examples import example_logits, unit_views
from model.nn.few_labels.gaussian import fit_gaussian
from model.nn.few_labels.logistic import fit_logistic
from model.nn.few_labels.rows import Rows

OWN, EXAMPLES = "own", "examples"

Design = Literal["features", "views", "smoothed", "posterior"]


@dataclass(frozen=True)
class Voter:
    """One way to learn from few labels.

    Attributes:
        design: what it reads, a field of `Rows`.
        fit: "logistic", "gaussian", "calibrated" or "examples".
        about: the same in words, for cards and documents.
    """

    design: Design
    fit: Literal["logistic", "gaussian", "calibrated", "examples"]
    about: str

    @property
    def needs_spread(self) -> bool:
        """Whether the backpack must have the spread of its actions."""
        return self.fit in ("gaussian", "calibrated")


VOTERS: dict[str, Voter] = {
    OWN: Voter("features", "logistic", "logistic head on the backbone's features"),
    "perspectives": Voter("views", "logistic", "logistic head on the known tasks' perspectives"),
    "smoothed": Voter(
        "smoothed", "logistic", "logistic head on perspectives smoothed by the prototypes"
    ),
    "posterior": Voter(
        "posterior", "logistic", "logistic head on the posterior over the prototypes"
    ),
    "gaussian": Voter(
        "views", "gaussian", "Gaussian classes with the backpack's within-action covariance"
    ),
    "calibrated": Voter(
        "views", "calibrated", "the same, its means and variances borrowed from near prototypes"
    ),
    EXAMPLES: Voter("views", "examples", "similarity to the labelled examples themselves"),
}
"""Name -> voter; `own`, the plain head, needs no backpack."""

PENALTY = 0.05
"""Of the logistic heads."""


@dataclass(frozen=True, eq=False)
class FewLabels:
    """Labelled rows, and the models to fit on them.

    Attributes:
        rows: (M) rows, float64.
        labels: (M,) ids.
        masks: (K, M) weight of each row in each of K models: all ones, and folds.
        num_labels: Y.
        perspectives: known tasks whose perspectives the rows have.
        backpack: of the same; None without.
    """

    rows: Rows
    labels: Tensor
    masks: Tensor
    num_labels: int
    perspectives: tuple[str, ...]
    backpack: Backpack | None


def fit_voter(name: str, few: FewLabels) -> dict[str, Tensor]:
    """Returns a voter fitted K times, as tensors.

    Returns:
        "weight" (K, Y, F) and "bias" (K, Y); of the examples "member" (K, n, Y), their classes,
        and "keys" (n, F), unit vectors.
    """
    voter = VOTERS[name]
    x: Tensor = getattr(few.rows, voter.design)
    if voter.fit == "examples":
        member = F.one_hot(few.labels, few.num_labels).to(x.dtype) * few.masks.unsqueeze(2)
        return {"keys": unit_views(x, len(few.perspectives)), "member": member}
    if voter.fit == "logistic":
        fitted = fit_logistic(x, few.labels, few.masks, few.num_labels, penalty=PENALTY)
    else:
        assert few.backpack is not None
        borrows = voter.fit == "calibrated"
        shape = (few.labels, few.masks, few.num_labels)
        fitted = fit_gaussian(x, *shape, few.backpack, few.perspectives, borrows=borrows)
    return dict(zip(("weight", "bias"), fitted, strict=True))


def first_model(parts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns the first of the K models, that of all labels."""
    return {name: part if name == "keys" else part[:1] for name, part in parts.items()}


def cast_votes(name: str, parts: Mapping[str, Tensor], rows: Rows, num_views: int) -> Tensor:
    """Returns a fitted voter's log-probabilities, (K, M, Y).

    Args:
        name: of the voter.
        parts: as `fit_voter` returns them.
        rows: (M) rows to answer.
        num_views: perspectives side by side in a row.
    """
    x: Tensor = getattr(rows, VOTERS[name].design)
    if "keys" in parts:
        cosine = unit_views(x, num_views) @ parts["keys"].T
        return example_logits(cosine, parts["member"]).log_softmax(dim=-1)
    logits = torch.einsum("mf,kyf->kmy", x, parts["weight"]) + parts["bias"].unsqueeze(1)
    return logits.log_softmax(dim=-1)
