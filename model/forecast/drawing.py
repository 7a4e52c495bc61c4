"""Futures of a sequence forecaster drawn step by step, each step fed back.

A step of a few dozen futures is little arithmetic in many calls. So all products with the state are
one, and what depends on a drawn pair alone is looked up in tables made once.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from model.forecast.forecaster import TINY, Memory, SequenceForecaster, distance_bucket


@torch.no_grad()
def draw_futures(
    forecaster: SequenceForecaster, memory: Memory, chances: Tensor
) -> tuple[Tensor, Tensor]:
    """Draws futures with the probabilities of `SequenceForecaster.forward`, in evaluation mode.

    Args:
        forecaster: on the CPU.
        memory: of M pasts.
        chances: (M, N, Z) numbers in [0, 1) that decide the draws of N futures of Z steps.

    Returns:
        futures: (M, N, Z) rows of `forecaster.pairs`.
        marginals: (M, Z, P) distribution of every step: the mean over the futures of the
            distribution that each was drawn from.
    """
    num, count, steps = chances.shape
    length = memory.keys.shape[1]
    tables = _Tables(forecaster)
    state = memory.state.repeat_interleave(count, dim=0)  # (M * N, H)
    keys = memory.keys.transpose(1, 2)
    grown = memory.keys.new_zeros(num * count, steps, memory.keys.shape[2])
    drawn = torch.zeros(num * count, steps, dtype=torch.long)
    bias = _distance_biases(forecaster, length, steps)  # (Z, L + Z)
    hidden = torch.zeros_like(memory.is_step, dtype=memory.keys.dtype)
    hidden = hidden.masked_fill_(~memory.is_step, -torch.inf).unsqueeze(1)  # (M, 1, L)
    at, marginals = chances.flatten(0, 1), []
    for step in range(steps):
        query, before, gates, pair_logits, gate = tables.products(state)
        scores = torch.cat(
            [
                (query.view(num, count, -1) @ keys + hidden).flatten(0, 1),
                (grown @ query.unsqueeze(2)).squeeze(2),
            ],
            dim=1,
        )
        share = (scores + bias[step]).softmax(dim=1) * (1 - gate)
        past = share[:, :length].view(num, count, -1) @ memory.pairs
        chance = torch.addcmul(past.flatten(0, 1), gate, pair_logits.softmax(dim=1))
        chance = chance.scatter_add_(1, drawn, share[:, length:])  # steps to come have no share
        chance = _tempered(chance, forecaster.config.temperature)
        marginals.append(chance.view(num, count, -1).mean(dim=1))
        rows = _pick(chance, at[:, step])
        drawn[:, step] = rows
        grown[:, step] = before + tables.keys[rows]
        state = _next_state(state, gates, tables.gates[rows])
    return drawn.view(num, count, steps), torch.stack(marginals, dim=1)


class _Tables:
    """A forecaster's weights, arranged for a step.

    Attributes:
        keys: (P, H) part of a key that the pair decides.
        gates: (P, 3 H) part of the GRU's gates that the pair decides.
    """

    def __init__(self, forecaster: SequenceForecaster) -> None:
        verb, noun = forecaster.pairs.unbind(-1)
        action = forecaster.verb_table[verb] + forecaster.noun_table[noun]
        query = forecaster.query
        of_input, of_state, input_bias, state_bias = forecaster.gru.all_weights[0]
        self.keys: Tensor = forecaster.key_action(action)
        self.gates = F.linear(action, of_input, input_bias)
        width = query.out_features
        scale = 1 / math.sqrt(width)
        key_before = forecaster.key_before.weight
        of_pair, of_verb, of_noun = forecaster.of_pair, forecaster.of_verb, forecaster.of_noun
        parts = [
            (query.weight * scale, query.bias * scale),
            (key_before, key_before.new_zeros(width)),
            (of_state, state_bias),
            (
                of_pair.weight + of_verb.weight[verb] + of_noun.weight[noun],
                of_pair.bias + of_verb.bias[verb] + of_noun.bias[noun],
            ),
            (forecaster.gate.weight, forecaster.gate.bias),
        ]
        self._weight = torch.cat([weight for weight, _ in parts]).T.contiguous()
        self._bias = torch.cat([bias for _, bias in parts])
        self._sizes = [len(bias) for _, bias in parts]

    def products(self, state: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Returns what a step takes of the state, (B, H).

        Returns:
            scaled query (B, H), a key's part (B, H), the GRU's gates (B, 3 H), logits of pairs
            (B, P), and the generator's share (B, 1).
        """
        found = torch.addmm(self._bias, state, self._weight).split(self._sizes, dim=1)
        query, before, gates, pair_logits, gate = found
        return query, before, gates, pair_logits, gate.sigmoid()


def _distance_biases(forecaster: SequenceForecaster, length: int, steps: int) -> Tensor:
    """Returns biases of all scores at each step, (Z, L + Z): the past, then drawn steps.

    Steps that are not drawn yet have minus infinity.
    """
    gap = length + torch.arange(steps).unsqueeze(1) - torch.arange(length + steps) - 1
    biases = forecaster.distance[distance_bucket(gap.clamp(min=0))]
    return biases.masked_fill(gap < 0, -torch.inf)


def _next_state(state: Tensor, of_state: Tensor, of_action: Tensor) -> Tensor:
    """Returns the GRU's next state, (B, H), from the two parts of its gates, (B, 3 H)."""
    width = state.shape[1]
    reset, update = (
        (of_state[:, : 2 * width] + of_action[:, : 2 * width]).sigmoid_().split(width, dim=1)
    )
    new = torch.addcmul(of_action[:, 2 * width :], reset, of_state[:, 2 * width :]).tanh_()
    return torch.lerp(new, state, update)


def _tempered(chance: Tensor, temperature: float) -> Tensor:
    if temperature == 1:
        return chance
    sharper = chance.clamp(min=TINY) ** (1 / temperature)
    return sharper / sharper.sum(dim=-1, keepdim=True)


def _pick(chance: Tensor, at: Tensor) -> Tensor:
    """Inverts the cumulative distribution of every row, (B, P), at a number in [0, 1), (B,)."""
    total = chance.double().cumsum(dim=1)
    wanted = at.to(total).unsqueeze(1) * total[:, -1:]
    row: Tensor = torch.searchsorted(total, wanted, right=True).squeeze(1)
    return row.clamp(max=chance.shape[1] - 1)
