"""Sampled futures of LTA: whole hypotheses drawn from the logits of every future step.

Sampling has its own temperature in the config, 1 as in the authors' code: those fitted by
calibration are flatter and give worse futures.
"""

import hashlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from model.config import ModelConfig
from model.data.samples import Samples
from model.forecast.choice import choose_futures
from model.forecast.forecaster import SequenceForecaster
from model.forecast.load import at_config
from model.forecast.sampling import PastActions, sample_windows
from model.tasks import NUM_HYPOTHESES


def sample_futures(
    logits: Mapping[str, Tensor], *, config: ModelConfig, seed: int
) -> dict[str, Tensor]:
    """Samples K futures.

    Args:
        logits: output -> (Z, Y), fused and not calibrated.
        config: as for `draw_futures`, and its `future_choice`.
        seed: the same seed and logits always give the same futures.

    Returns:
        output -> (K, Z) label ids.
    """
    drawn = draw_futures(logits, config=config, seed=seed)
    kept = keep_futures({name: draws.unsqueeze(0) for name, draws in drawn.items()}, config)
    return {name: draws[0] for name, draws in kept.items()}


def sample_split(
    logits: Mapping[str, Tensor], names: Sequence[str], *, config: ModelConfig, seed: int
) -> dict[str, Tensor]:
    """Samples K futures of every sample of a split.

    Args:
        logits: output -> (M, Z, Y).
        names: ids of the M samples; each has a seed derived from `seed` and its id.
        config: as for `sample_futures`.
        seed: of the split.

    Returns:
        output -> (M, K, Z) label ids.
    """
    return keep_futures(draw_split(logits, names, config=config, seed=seed), config)


def draw_split(
    logits: Mapping[str, Tensor], names: Sequence[str], *, config: ModelConfig, seed: int
) -> dict[str, Tensor]:
    """Draws futures of every sample of a split, not yet reduced to K; as `sample_split`."""
    drawn = []
    for place, name in enumerate(names):
        mine = {output: values[place] for output, values in logits.items()}
        drawn.append(draw_futures(mine, config=config, seed=seed_of(seed, name)))
    return {output: torch.stack([d[output] for d in drawn]) for output in logits}


def forecast_split(
    forecaster: SequenceForecaster,
    past: PastActions,
    samples: Samples,
    *,
    config: ModelConfig,
    seed: int,
) -> dict[str, Tensor]:
    """Draws futures of LTA's samples by the sequence forecaster, not yet reduced to K.

    Args:
        forecaster: of a bundle; its temperature is multiplied by the config's.
        past: of the actions that the samples may look back on.
        samples: of LTA.
        config: its `future_temperature` and what `num_drawn` reads.
        seed: of the split.

    Returns:
        output -> (M, N, Z) label ids.
    """
    assert samples.past is not None
    return sample_windows(
        at_config(forecaster, config),
        past,
        samples.past.windows,
        [seed_of(seed, name) for name in samples.names],
        count=num_drawn(config),
        steps=samples.spec.num_future,
    )


def draw_futures(
    logits: Mapping[str, Tensor], *, config: ModelConfig, seed: int
) -> dict[str, Tensor]:
    """Draws futures label by label and independently, as Ego4D's generator does.

    Args:
        logits: output -> (Z, Y).
        config: its `future_temperature`, `greedy_first` and what `num_drawn` reads.
        seed: of the draws.

    Returns:
        output -> (N, Z) label ids.
    """
    generator = torch.Generator().manual_seed(seed)
    count = num_drawn(config)
    futures = {}
    for name in sorted(logits):
        p = (logits[name].cpu().double() / config.future_temperature).softmax(dim=1)
        draws = torch.multinomial(p, count, replacement=True, generator=generator).T
        if config.greedy_first:
            draws = torch.cat([p.argmax(dim=1).unsqueeze(0), draws[1:]])
        futures[name] = draws
    return futures


def num_drawn(config: ModelConfig) -> int:
    """Returns N, the number of futures to draw for K hypotheses."""
    return config.future_samples if config.future_choice == "set" else NUM_HYPOTHESES


def keep_futures(candidates: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Returns the K hypotheses among the drawn futures, output -> (M, K, Z) of (M, N, Z).

    All of them where they were drawn on their own; else the set of `choose_futures`.
    """
    if config.future_choice == "independent":
        return dict(candidates)
    return choose_futures(candidates, NUM_HYPOTHESES)


def seed_of(seed: int, sample_id: str) -> int:
    """Returns the seed of one sample, which does not depend on its position in a split."""
    digest = hashlib.sha256(f"{seed}/{sample_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1  # a generator takes 63 bits
