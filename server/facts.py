"""What a bundle and the settings say of the server -> JSON shapes."""

from collections.abc import Mapping
from typing import Any

from model.predict.predictor import Predictor
from model.tasks import FIXED_LABELS
from server.api.uploads.bodies import MAX_OPTIONS_BYTES
from server.schemas.metadata import Encoder, Limits, ModelFacts, Skill, Taxonomy
from server.schemas.options import MAX_NAMES, MAX_TOP_K
from server.schemas.prediction import ModelIdentity
from server.settings.settings import Settings

MAX_INFERENCE_JSON_BYTES = 16 << 20
"""Of the JSON of one inference below `/v2`; binary tensors come after it and are bodies."""


def identity(predictor: Predictor) -> ModelIdentity:
    """Returns which bundle answers."""
    return ModelIdentity(name=predictor.name, version=predictor.version, sha256=predictor.sha256)


def model_facts(predictor: Predictor) -> ModelFacts:
    """Returns what the bundle says of itself."""
    manifest, encoder = predictor.manifest, predictor.encoder
    licence = manifest.training.get("licence")
    return ModelFacts(
        **identity(predictor).model_dump(),
        tasks=list(predictor.tasks),
        encoder=Encoder(
            name=encoder.name,
            kind=str(manifest.encoder.get("kind", "swin")),
            fingerprint=encoder.fingerprint,
            dim=encoder.dim,
            contract=encoder.contract.to_dict(),
        ),
        skills={
            task: Skill(
                backbone=facts["backbone"],
                perspectives=list(facts["perspectives"]),
                outputs=list(facts["spec"]["outputs"]),
            )
            for task, facts in manifest.skills.items()
        },
        label_counts={space: len(names) for space, names in manifest.label_spaces.items()},
        metrics=_metrics(manifest.metrics),
        licence=None if licence is None else str(licence),
        backbone_passes=predictor.backbone_passes,
    )


def limits(settings: Settings) -> Limits:
    """Returns every limit in force."""
    return Limits(
        max_choices_bytes=MAX_OPTIONS_BYTES,
        max_inference_json_bytes=MAX_INFERENCE_JSON_BYTES,
        max_top_k=MAX_TOP_K,
        max_names=MAX_NAMES,
        **{
            name: getattr(settings, name) for name in Limits.model_fields if hasattr(settings, name)
        },
    )


def taxonomy(predictor: Predictor) -> Taxonomy:
    """Returns the names of every label space, those that no bundle may choose included."""
    named = predictor.manifest.label_spaces
    used = {
        output
        for facts in predictor.manifest.skills.values()
        for output in facts["spec"]["outputs"]
    }
    fixed = {space: names for space, names in FIXED_LABELS.items() if space in used}
    return Taxonomy(model=identity(predictor), label_spaces=named | fixed)


def _metrics(found: Mapping[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
    """Numbers only: a bundle may carry notes beside its metrics."""
    return {
        split: {
            task: {
                name: float(value)
                for name, value in values.items()
                if isinstance(value, int | float)
            }
            for task, values in tasks.items()
            if isinstance(values, Mapping)
        }
        for split, tasks in found.items()
        if isinstance(tasks, Mapping)
    }
