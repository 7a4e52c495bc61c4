"""LTA's futures beside other ways to forecast: blind ones, and the past as AR recognised it."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from model.config import ModelConfig
from model.data.samples import Samples
from model.evaluate.forecasts import CHOSEN, DRAWN, ForecastRow, baseline_rows, sampled_rows, scored
from model.forecast.baselines import PairCounts
from model.forecast.forecaster import SequenceForecaster
from model.forecast.sampling import PastActions
from model.predict.futures import forecast_split, sample_split

GRAPH = "LTA's graph"
FORECASTER = "sequence forecaster"
RECOGNISED = ", recognised past"


def lta_rows(
    counts: PairCounts,
    samples: Samples,
    logits: Mapping[str, Tensor],
    config: ModelConfig,
    *,
    past: PastActions | None,
    forecaster: SequenceForecaster | None,
    seed: int,
) -> list[ForecastRow]:
    """Returns every way to forecast LTA's samples, with independent draws and as a set.

    Args:
        counts: of the training actions.
        samples: of LTA.
        logits: of LTA's graph, output -> (M, Z, Y).
        config: of the model.
        past: as AR recognised it; None leaves out the ways that need it.
        forecaster: of the bundle, if there is one.
        seed: of the draws.
    """
    assert samples.past is not None
    many = replace(config, future_choice=CHOSEN)
    truth = samples.labels
    rows: list[ForecastRow] = []
    if past is not None:
        rows += baseline_rows(
            counts, past.best(), samples.past.windows, truth,
            samples=config.future_samples, seed=seed, seen=RECOGNISED,
        )  # fmt: skip
    for choice in (DRAWN, CHOSEN):
        own = replace(config, future_choice=choice)
        rows.append(
            scored(
                GRAPH, sample_split(logits, samples.names, config=own, seed=seed), truth,
                choice=choice,
            )
        )  # fmt: skip
    if past is not None and forecaster is not None:
        drawn = forecast_split(forecaster, past, samples, config=many, seed=seed)
        rows += sampled_rows(FORECASTER, drawn, truth)
    return rows
