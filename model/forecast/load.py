"""The forecaster of a bundle, rebuilt strictly from its manifest entry and tensors."""

import copy
from dataclasses import replace

import torch

from model.config import ForecasterConfig, ModelConfig
from model.forecast.forecaster import SequenceForecaster
from model.nn.skill_set import load_strictly
from model.tasks import AR, LTA
from weights.bundle import FORECASTER_FILE, Bundle
from weights.bundle.manifest import MANIFEST_FILE
from weights.errors import BundleError

PAIRS = "pairs"


def build_forecaster(bundle: Bundle) -> SequenceForecaster | None:
    """Returns the bundle's forecaster, on the CPU; None if it has none.

    Raises:
        BundleError: its config, a tensor or its pairs are invalid, or the bundle has no AR or LTA.
    """
    entry = bundle.manifest.forecaster
    if not entry:
        return None
    skills = bundle.manifest.skills
    if not {AR.name, LTA.name} <= set(skills):
        expected = "skills ar and lta beside a forecaster"
        raise BundleError(MANIFEST_FILE, expected=expected, found=", ".join(skills) or "none")
    try:
        config, count = ForecasterConfig.from_dict(entry["config"]), int(entry[PAIRS])
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(MANIFEST_FILE, expected="a forecaster", found=str(error)) from error
    num_labels = {name: len(names) for name, names in bundle.manifest.label_spaces.items()}
    empty = torch.zeros(count, 2, dtype=torch.long)
    model = SequenceForecaster(config, empty, num_labels)
    load_strictly(model, bundle.forecaster, FORECASTER_FILE)
    most = torch.tensor([num_labels["verb"], num_labels["noun"]])
    if not ((model.pairs >= 0) & (model.pairs < most)).all():
        raise BundleError(
            FORECASTER_FILE, expected="pairs of the bundle's labels", found="ids outside of them"
        )
    return model.eval().requires_grad_(False)


def forecaster_entry(model: SequenceForecaster) -> dict[str, object]:
    """Returns the manifest's entry of a forecaster."""
    return {"config": model.config.to_dict(), PAIRS: len(model.pairs)}


def at_config(model: SequenceForecaster, config: ModelConfig) -> SequenceForecaster:
    """Returns the forecaster with its own temperature times `future_temperature` of the config."""
    return at_temperature(model, model.config.temperature * config.future_temperature)


def at_temperature(model: SequenceForecaster, temperature: float) -> SequenceForecaster:
    """Returns the same forecaster with another temperature of sampling."""
    changed = copy.copy(model)
    changed.config = replace(model.config, temperature=temperature)
    return changed
