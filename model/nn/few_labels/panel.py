"""Panel of voters fitted on the same labels, and the weights that cross-validation gives them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.nn.backpack import Backpack
from model.nn.few_labels.rows import Rows
from model.nn.few_labels.voters import (
    EXAMPLES,
    OWN,
    VOTERS,
    FewLabels,
    cast_votes,
    first_model,
    fit_voter,
)
from model.nn.few_labels.weigh import PRIOR, fit_weights, fold_masks, out_of_fold, prior_weights

_NEGLIGIBLE = 1e-3  # weight of a voter that does not count


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Votes on rows that the voters had not learnt from.

    Attributes:
        votes: (V, R, Y) log-probabilities.
        labels: (R,) ids.
        fold: (R,) fold in which a row was held out.
    """

    votes: Tensor
    labels: Tensor
    fold: Tensor


@dataclass(frozen=True, eq=False)
class Panel:
    """Voters fitted on all labels, and what they say of held-out ones.

    Attributes:
        fitted: voter -> tensors of `fit_voter`, K = 1.
        held_out: None where no label can be held out.
        perspectives: known tasks that the voters read.
    """

    fitted: dict[str, dict[str, Tensor]]
    held_out: HeldOut | None
    perspectives: tuple[str, ...]

    def votes(self, rows: Rows) -> Tensor:
        """Returns the log-probabilities of all voters, (V, M, Y)."""
        each = len(self.perspectives)
        return torch.cat([cast_votes(n, p, rows, each) for n, p in self.fitted.items()])

    def weights(self) -> dict[str, float]:
        """Returns the weights of the voters that count; the plain head alone where none does."""
        prior = prior_weights(list(self.fitted))
        found = prior
        if self.held_out is not None:
            labels = self.held_out.labels
            everything = torch.ones(1, len(labels), dtype=torch.float64)
            found = fit_weights(self.held_out.votes, labels, everything, prior)[0]
        pairs = zip(self.fitted, found.tolist(), strict=True)
        counting = {name: w for name, w in pairs if w > _NEGLIGIBLE}
        return counting or {OWN: PRIOR[OWN]}

    def alone(self, name: str) -> Tensor | None:
        """Returns one voter's log-probabilities of held-out rows, (R, Y)."""
        if self.held_out is None:
            return None
        return self.held_out.votes[list(self.fitted).index(name)]

    def cross_validated(self) -> tuple[Tensor, Tensor] | None:
        """Returns fused log-probabilities of held-out rows, (R, Y), and their labels.

        The weights of a fold are chosen on the other folds, so that the choice is judged, too.
        """
        if self.held_out is None:
            return None
        held = self.held_out
        folds = held.fold.unique()
        masks = (held.fold != folds.unsqueeze(1)).double()
        weights = fit_weights(held.votes, held.labels, masks, prior_weights(list(self.fitted)))
        mine = weights[torch.searchsorted(folds, held.fold)]  # (R, V)
        return torch.einsum("rv,vry->ry", mine, held.votes), held.labels


def usable_voters(backpack: Backpack | None, num_rows: int, most_examples: int) -> list[str]:
    """Returns the voters that a backpack and a number of labels allow."""
    if backpack is None:
        return [OWN]
    return [
        name
        for name, voter in VOTERS.items()
        if (backpack.spread or not voter.needs_spread)
        and (name != EXAMPLES or num_rows <= most_examples)
    ]


def fit_panel(
    names: Sequence[str],
    rows: Rows,
    labels: Tensor,
    num_labels: int,
    videos: Sequence[str],
    backpack: Backpack | None,
    perspectives: Sequence[str],
    *,
    seed: int,
) -> Panel:
    """Fits voters on all labels and, in the same go, on every fold.

    Args:
        names: of the voters.
        rows: (M) rows, float64.
        labels: (M,) ids.
        num_labels: Y.
        videos: of the rows, whose rows are held out together.
        backpack: of the perspectives; None without.
        perspectives: known tasks that the rows have.
        seed: of the folds.
    """
    folds = fold_masks(labels, videos, seed=seed)
    masks = torch.cat([torch.ones(1, len(labels), dtype=torch.float64), folds])
    few = FewLabels(rows, labels, masks, num_labels, tuple(perspectives), backpack)
    each = len(perspectives)
    fitted, votes = {}, []
    for name in names:
        parts = fit_voter(name, few)
        fitted[name] = first_model(parts)
        if len(folds):
            votes.append(cast_votes(name, parts, rows, each)[1:])
    held_out = None
    if votes:
        fold, learnt = out_of_fold(folds, labels)
        rows_known = learnt.nonzero().squeeze(1)
        if len(rows_known):
            picked = [v[fold[rows_known], rows_known] for v in votes]
            held_out = HeldOut(torch.stack(picked), labels[rows_known], fold[rows_known])
    return Panel(fitted, held_out, tuple(perspectives))
