"""Sequence forecaster: a GRU over the actions so far that may copy from them.

A pointer-generator mixture (See et al., ACL 2017) over joint (verb, noun) pairs: returning to what
was done before is most of what people do next. Every step is one of the pairs that occur in
training, by construction.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from model.config import ForecasterConfig

NEAR = 16
"""Distances to the past with a bias of their own; farther ones share one per half octave."""

FAR = 16

SCALE = 0.2
"""Standard deviation of embeddings at the start."""

TINY = 1e-8
"""Least probability of a step, for logarithms."""


@dataclass(frozen=True, eq=False)
class Memory:
    """What a forecaster has seen.

    Attributes:
        state: (M, H) of the GRU after the last step.
        keys: (M, L, H) of the steps, for the pointer.
        pairs: (M, L, P) distribution of each step over pairs.
        is_step: (M, L) bool; padding is False.
    """

    state: Tensor
    keys: Tensor
    pairs: Tensor
    is_step: Tensor


class SequenceForecaster(nn.Module):
    """Next action from the distributions over verbs and nouns of all actions so far.

    Attributes:
        pairs: (P, 2) verb and noun of every pair of training.
    """

    pairs: Tensor

    def __init__(
        self, config: ForecasterConfig, pairs: Tensor, num_labels: Mapping[str, int]
    ) -> None:
        """Builds an untrained forecaster.

        Args:
            config: sizes.
            pairs: (P, 2) int64, verb and noun of every pair of training.
            num_labels: "verb" and "noun" -> classes.
        """
        super().__init__()
        self.config = config
        width, size = config.hidden_size, config.embedding_size
        self.register_buffer("pairs", pairs)
        self.verb_table = nn.Parameter(torch.randn(num_labels["verb"], size) * SCALE)
        self.noun_table = nn.Parameter(torch.randn(num_labels["noun"], size) * SCALE)
        self.gru = nn.GRU(size, width, batch_first=True)
        self.query = nn.Linear(width, width)
        self.key_before = nn.Linear(width, width, bias=False)
        self.key_action = nn.Linear(size, width, bias=False)
        self.distance = nn.Parameter(torch.zeros(NEAR + FAR))
        self.gate = nn.Linear(width, 1)
        self.of_pair = nn.Linear(width, len(pairs))
        self.of_verb = nn.Linear(width, num_labels["verb"])
        self.of_noun = nn.Linear(width, num_labels["noun"])
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, verb: Tensor, noun: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the two parts of the next action's distribution after every step.

        Args:
            verb: (M, T, V) distributions of the steps; zero where there is none, at the end.
            noun: (M, T, W) likewise.

        Returns:
            generated: (M, T, P) share of each pair by the generator.
            copied: (M, T, T) share of each earlier or current step, to be multiplied by that step's
                distribution over pairs; both together sum to 1.
        """
        action = self._embedded(verb, noun)
        hidden = self._run(action)
        before = torch.cat([torch.zeros_like(hidden[:, :1]), hidden[:, :-1]], dim=1)
        keys = self._keys(before, action)
        step = torch.arange(verb.shape[1], device=verb.device)
        gap = step.unsqueeze(1) - step
        share = self._attention(self.dropout(hidden), keys, gap, gap >= 0)
        return self._mixed(self.dropout(hidden), share)

    def joint(self, verb: Tensor, noun: Tensor) -> Tensor:
        """Returns distributions over pairs, (..., P): products, normalised over the pairs.

        Uniform where no pair has any probability.
        """
        product = verb[..., self.pairs[:, 0]] * noun[..., self.pairs[:, 1]] + TINY
        return product / product.sum(dim=-1, keepdim=True)

    def remember(self, verb: Tensor, noun: Tensor, is_step: Tensor) -> Memory:
        """Reads the past.

        Args:
            verb: (M, L, V) distributions, the last step at the end.
            noun: (M, L, W) likewise.
            is_step: (M, L) bool, False on padding in front.
        """
        shift = (~is_step).sum(dim=1, keepdim=True)  # steps first, padding last
        length = verb.shape[1]
        order = (torch.arange(length, device=verb.device) + shift) % length
        verb, noun = (x.gather(1, order.unsqueeze(-1).expand_as(x)) for x in (verb, noun))
        action = self._embedded(verb, noun)
        hidden = self._run(action)
        before = torch.cat([torch.zeros_like(hidden[:, :1]), hidden[:, :-1]], dim=1)
        back = order.argsort(dim=1)
        keys = self._keys(before, action)
        keys = keys.gather(1, back.unsqueeze(-1).expand_as(keys))
        last = (length - 1 - shift).unsqueeze(-1).expand(-1, 1, hidden.shape[-1])
        pairs = self.joint(verb, noun)
        pairs = pairs.gather(1, back.unsqueeze(-1).expand_as(pairs))
        return Memory(hidden.gather(1, last).squeeze(1), keys, pairs, is_step)

    def _embedded(self, verb: Tensor, noun: Tensor) -> Tensor:
        embedded: Tensor = self.dropout(verb @ self.verb_table + noun @ self.noun_table)
        return embedded

    def _run(self, action: Tensor) -> Tensor:
        hidden: Tensor = self.gru(action)[0]
        return hidden

    def _keys(self, before: Tensor, action: Tensor) -> Tensor:
        """A step's key: what had happened before it, and what it is."""
        keys: Tensor = self.key_before(before) + self.key_action(action)
        return keys

    def _scores(self, hidden: Tensor, keys: Tensor, gap: Tensor) -> Tensor:
        """Scores of steps that are `gap` steps back, (M, n, L)."""
        scores: Tensor = self.query(hidden) @ keys.transpose(-1, -2) / math.sqrt(keys.shape[-1])
        return scores + self.distance[distance_bucket(gap)]

    def _attention(self, hidden: Tensor, keys: Tensor, gap: Tensor, is_past: Tensor) -> Tensor:
        scores = self._scores(hidden, keys, gap.clamp(min=0))
        share: Tensor = scores.masked_fill(~is_past, -torch.inf).softmax(dim=-1)
        return share

    def _mixed(self, hidden: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
        """Weighs the generator's distribution and the pointer's shares by the gate."""
        verb, noun = self.pairs.unbind(-1)
        logits = self.of_pair(hidden) + self.of_verb(hidden)[..., verb]
        logits = logits + self.of_noun(hidden)[..., noun]
        gate = torch.sigmoid(self.gate(hidden))
        return gate * logits.softmax(dim=-1), (1 - gate) * share


def distance_bucket(gap: Tensor) -> Tensor:
    """Returns the index of a distance's bias: one each below `NEAR`, then two an octave."""
    far = NEAR + (2 * torch.log2(gap.clamp(min=NEAR) / NEAR)).long()
    return torch.where(gap < NEAR, gap, far.clamp(max=NEAR + FAR - 1))
