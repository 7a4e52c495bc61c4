"""Training stage of the sequence forecaster of a bundle: trained, tempered, kept if it wins on val.

It sees the past as AR recognises videos that it has not learnt from: see `Donors`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from model.config import Learning
from model.data.samples import Samples
from model.evaluate.calibration import TaskModel, calibrate, collect_logits
from model.evaluate.metrics import Values, anticipation_errors, mean
from model.forecast.baselines import PairCounts
from model.forecast.forecaster import SequenceForecaster
from model.forecast.load import at_temperature
from model.forecast.recognition import recognise
from model.forecast.sampling import PastActions
from model.predict.futures import forecast_split, keep_futures, sample_split
from model.tasks import AR, LTA
from model.train.datasets.prepared import Prepared
from model.train.fit import FitJob
from model.train.ledger import Ledger, stage_key
from model.train.methods.forecaster import Donors, train_forecaster

STAGE = "forecaster"
TYPICAL_S = 90.0
"""Seconds on tabletop and two cores."""

TEMPERATURES = (1.0, 0.8, 0.6, 0.45, 0.35)
METRICS = ("verb_ed", "noun_ed", "action_ed")


@dataclass(frozen=True, eq=False)
class LearntForecaster:
    """A trained forecaster and the decision about it.

    Attributes:
        model: at the temperature that was chosen.
        facts: temperature, distances on val of LTA's graph and of the forecaster, "kept".
    """

    model: SequenceForecaster
    facts: dict[str, Any]

    @property
    def kept(self) -> SequenceForecaster | None:
        """The model, if it wins on val."""
        return self.model if self.facts["kept"] else None


def learn_forecaster(
    models: Mapping[str, TaskModel],
    prepared: Prepared,
    learning: Learning,
    ledger: Ledger,
    key: str,
    *,
    seed: int,
    device: str,
) -> LearntForecaster | None:
    """Returns a trained forecaster; None where none is asked for, or AR or LTA is not trained.

    It is kept if the mean of verb, noun and action distance on val is below that of LTA's graph,
    with futures chosen as the model's config says.

    Args:
        models: task -> fused logits of its skill.
        prepared: the data.
        learning: hyper-parameters.
        ledger: caches the stage.
        key: of the skills.
        seed: for all random generators.
        device: of the training.
    """
    config, samples = learning.forecaster, prepared.samples
    if config is None or not {AR.name, LTA.name} <= set(models):
        return None
    key = stage_key(key, config, learning.forecasting, learning.model, seed)
    train, val = samples["train"][LTA.name], samples["val"][LTA.name]
    assert train.past is not None
    sequences = train.past.sequences()
    sizes = {name: len(prepared.labels[name]) for name in LTA.outputs}
    past = _Recognised(models[AR.name], samples["val"], learning)

    def make() -> dict[str, Tensor]:
        checkpoint = ledger.checkpoint(STAGE, key)
        job = FitJob(learning.forecasting, seed, checkpoint, device, True, ledger.world)
        assert val.past is not None
        donors = Donors(past.of(val), val.past.ids)
        made = train_forecaster(sequences, sizes, config, job, recogniser=donors)
        return dict(made.state_dict())

    tensors = ledger.tensors(STAGE, key, make)
    model = SequenceForecaster(config, PairCounts(sequences).pairs, sizes)
    model.load_state_dict(tensors)
    model = model.eval().requires_grad_(False)
    facts = ledger.value(
        f"{STAGE}-choice",
        key,
        lambda: _choice(model, past.of(val), val, models[LTA.name], learning),
    )
    return LearntForecaster(at_temperature(model, facts["temperature"]), facts)


class _Recognised:
    """AR's posteriors of val, computed once."""

    def __init__(self, answer: TaskModel, val: Mapping[str, Samples], learning: Learning) -> None:
        self._answer, self._val, self._config = answer, val, learning.model
        self._found: PastActions | None = None

    def of(self, samples: Samples) -> PastActions:
        if self._found is None:
            models, actions = {AR.name: self._answer}, {AR.name: self._val[AR.name]}
            fitted = calibrate(*collect_logits(models, actions, self._config))
            temperature = {name: c.temperature for name, c in fitted.items()}
            self._found = recognise(samples, self._answer, self._config, temperature)
        return self._found


def _choice(
    model: SequenceForecaster,
    past: PastActions,
    val: Samples,
    graph: TaskModel,
    learning: Learning,
) -> dict[str, Any]:
    """The best temperature on val, and the distances beside those of LTA's graph."""
    config = learning.model
    logits, labels = collect_logits({LTA.name: graph}, {LTA.name: val}, config)
    truth = labels[LTA.name]
    drawn = sample_split(logits[LTA.name], val.names, config=config, seed=0)
    reference = _distances(anticipation_errors(drawn, truth))
    found = {}
    for temperature in TEMPERATURES:
        colder = at_temperature(model, temperature)
        candidates = forecast_split(colder, past, val, config=config, seed=0)
        errors = anticipation_errors(keep_futures(candidates, config), truth)
        found[temperature] = _distances(errors)
    best = min(found, key=lambda t: sum(found[t].values()))
    kept = sum(found[best].values()) < sum(reference.values())
    return {"temperature": best, "kept": kept, "val": {"graph": reference, STAGE: found[best]}}


def _distances(errors: Mapping[str, Values]) -> dict[str, float]:
    return {metric: mean(errors[metric]) for metric in METRICS}


def card_section(facts: Mapping[str, Any]) -> str:
    """Returns the model card's words on a forecaster's `facts`."""
    rows = [
        " | ".join([f"| {way}", *(f"{facts['val'][key][m]:.3f}" for m in METRICS)]) + " |"
        for way, key in (("LTA's graph", "graph"), ("sequence forecaster", STAGE))
    ]
    table = "\n".join(["| val | verb | noun | action |", "|---|---:|---:|---:|", *rows])
    verdict = "It is not in this bundle: LTA's steps and futures are its graph's."
    if facts["kept"]:
        at = f"at temperature {facts['temperature']:g}"
        verdict = f"LTA's steps and futures in this bundle are the forecaster's, {at}."
    return f"""## How it forecasts

Edit distance of 20 steps, best of 5 futures, on val, where the choice was made: LTA's graph of two
actions, and a sequence forecaster that sees every action of the clip as AR recognised it.
{verdict}

{table}"""
