"""Bundle assembly: calibration, metrics, manifest and model card around the trained parts."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from extract.encoders.load import encoder_from_spec
from extract.runtime.onnx_export import export_encoder, is_exportable
from model.config import Learning, ModelConfig
from model.data.samples import Samples
from model.evaluate.calibration import Calibration, TaskModel, calibrate, collect_logits
from model.evaluate.scoring import Metrics, PerSample, per_sample, summarise
from model.evaluate.tables import format_table
from model.evaluate.unseen import baselines
from model.forecast.forecaster import SequenceForecaster
from model.forecast.load import forecaster_entry
from model.forecast.recognition import recognise
from model.nn.skill_set import Backbone, SkillSet
from model.predict.futures import forecast_split
from model.tasks import AR, LTA
from model.train.datasets.prepared import Prepared
from model.train.datasets.table import card_section as table_section
from model.train.forecast.stage import card_section
from model.train.methods.stages import SkillOnBackbone
from weights.bundle import Bundle, fingerprint
from weights.bundle.manifest import Manifest

SHARED = "shared"
"""Name of a backbone that is the only one of its bundle; others are named after their task."""


def group_skills(models: Mapping[str, SkillOnBackbone]) -> SkillSet:
    """Returns trained models as one set, in which those on the same backbone share its pass."""
    distinct = {id(models[task].backbone.model): task for task in reversed(list(models))}
    alone = len(distinct) == 1
    names = {held: SHARED if alone else task for held, task in distinct.items()}
    backbones = {names[id(m.backbone.model)]: m.backbone for m in models.values()}
    skills = {task: (m.skill, names[id(m.backbone.model)]) for task, m in models.items()}
    return SkillSet(backbones, skills).eval()


def score_splits(
    models: Mapping[str, TaskModel],
    samples: Mapping[str, Mapping[str, Samples]],
    config: ModelConfig,
    *,
    seed: int = 0,
    forecaster: SequenceForecaster | None = None,
) -> tuple[dict[str, Calibration], dict[str, Metrics], dict[str, PerSample]]:
    """Returns temperatures fitted on val, then metrics and per-sample values of both splits.

    Test is scored where it has labels; values are those whose mean is a metric.

    Args:
        models: task -> model.
        samples: split -> task -> samples.
        config: of the models.
        seed: for the sampled futures of LTA.
        forecaster: of LTA's futures, after the past as AR recognises it; None takes LTA's own.
    """
    collected = {s: collect_logits(models, samples[s], config) for s in samples if s != "train"}
    fitted = calibrate(*collected["val"])
    temperature = {name: c.temperature for name, c in fitted.items()}
    metrics, values = {}, {}
    for split, (logits, labels) in collected.items():
        mine, drawn = samples[split], {}
        if forecaster is not None:
            past = recognise(mine[LTA.name], models[AR.name], config, temperature)
            drawn[LTA.name] = forecast_split(
                forecaster, past, mine[LTA.name], config=config, seed=seed
            )
        values[split] = per_sample(logits, labels, mine, config, seed=seed, drawn=drawn)
        metrics[split] = summarise(values[split], logits, labels, mine, temperature)
    return fitted, metrics, values


def score(
    skills: SkillSet,
    prepared: Prepared,
    learning: Learning,
    forecaster: SequenceForecaster | None = None,
) -> dict[str, object]:
    """Returns the manifest's calibration, metrics and baselines; see `score_splits`."""
    samples, config = prepared.samples, learning.model
    fitted, metrics, _ = score_splits(skills.task_models(), samples, config, forecaster=forecaster)
    return {
        "calibration": {name: asdict(c) for name, c in fitted.items()},
        "metrics": metrics,
        "baselines": {
            s: baselines(samples["train"], samples[s], keyframe_rate=config.keyframe_rate)
            for s in metrics
        },
    }


def assemble(
    name: str,
    skills: SkillSet,
    prepared: Prepared,
    learning: Learning,
    scores: Mapping[str, object],
    training: Mapping[str, object],
    *,
    forecaster: SequenceForecaster | None = None,
) -> Bundle:
    """Returns a bundle of trained skills with its manifest and model card.

    Args:
        name: of the bundle.
        skills: trained.
        prepared: the data.
        learning: hyper-parameters.
        scores: as `score` returns them.
        training: protocol, command, seed, seconds of each stage, for the card.
        forecaster: of LTA's futures, if it is to be used.
    """
    config = next(iter(skills.models.values())).config
    backbones = {
        n: Backbone(model, skills.backpacks[n], skills.tuned_from[n])
        for n, model in skills.models.items()
    }
    manifest = Manifest(
        name=name,
        version="1",
        encoder=prepared.encoder,
        model=config.to_dict(),
        backbones={n: _backbone_entry(b) for n, b in backbones.items()},
        skills={
            task: {
                "spec": skill.spec.to_dict(),
                "backbone": skills.backbone_of[task],
                "perspectives": list(skill.perspectives),
            }
            for task, skill in skills.skills.items()
        },
        label_spaces=prepared.labels,
        training=_training(prepared, learning) | dict(training),
        forecaster={} if forecaster is None else forecaster_entry(forecaster),
        **scores,  # type: ignore[arg-type]
    )
    backpack: dict[str, Tensor] = {}
    for n, backbone in backbones.items():
        if backbone.backpack is not None:
            backpack |= backbone.backpack.to_tensors(n)
    bundle = Bundle(
        manifest=manifest,
        encoder=prepared.encoder_tensors,
        backbones={n: dict(b.model.state_dict()) for n, b in backbones.items()},
        skills={task: dict(skill.state_dict()) for task, skill in skills.skills.items()},
        backpack=backpack,
        forecaster={} if forecaster is None else dict(forecaster.state_dict()),
    )
    return replace(bundle, card=write_card(manifest), encoder_onnx=_exported(prepared))


def _backbone_entry(backbone: Backbone) -> dict[str, object]:
    own = fingerprint(dict(backbone.model.state_dict()))
    entry: dict[str, object] = {
        "tasks": [spec.to_dict() for spec in backbone.model.specs.values()],
        "fingerprint": own,
        "backpack_fingerprint": None,
    }
    if backbone.backpack is not None:
        entry["backpack_fingerprint"] = backbone.tuned_from or own
        if (outputs := list(backbone.backpack.labels)) != list(AR.outputs):
            entry["prototypes"] = outputs
    if backbone.tuned_from is not None:
        entry["tuned_from"] = backbone.tuned_from
    return entry


def _exported(prepared: Prepared) -> bytes:
    """The encoder as an ONNX graph; empty without an encoder that can be exported."""
    if not prepared.encoder_tensors:
        return b""
    encoder = encoder_from_spec(prepared.encoder, prepared.encoder_tensors)
    return export_encoder(encoder) if is_exportable(encoder) else b""


def _training(prepared: Prepared, learning: Learning) -> dict[str, object]:
    return {
        "data": prepared.data,
        "torch": torch.__version__.split("+")[0],
        "learning": {**asdict(learning), "model": learning.model.to_dict()},
        "samples": {
            split: {task: len(s) for task, s in tasks.items()}
            for split, tasks in prepared.samples.items()
        },
        **prepared.facts,
    }


def write_card(manifest: Manifest) -> str:
    """Returns the model card as Markdown."""
    training = manifest.training
    passes = len(manifest.backbones)
    sections = [
        f"# {manifest.name} {manifest.version}",
        f"""EgoPack (CVPR 2024) trained on {training["data"]}. It answers \
{", ".join(task.upper() for task in manifest.skills)} with {passes} backbone \
pass{"" if passes == 1 else "es"}.{_caution(manifest)}""",
        f"""## How it was made

`{training["command"]}`
(method `{training["method"]}`, protocol `{training["protocol"]}`, seed {training["seed"]},
torch {training["torch"]}, {training["threads"]} threads). \
All stages together took {sum(training["seconds"].values()) / 60:.0f} minutes.
Samples: {json.dumps(training["samples"])}.""",
        _rows("stage", "seconds", {k: f"{v:.0f}" for k, v in training["seconds"].items()}),
        *([table_section(manifest)] if "table" in training else []),
        _scores(manifest),
        *([card_section(training["forecaster"])] if "forecaster" in training else []),
        _calibration(manifest),
        _rows(
            "output",
            "temperature | before | after",
            {
                name: f"{c['temperature']:.2f} | {c['ece_before']:.3f} | {c['ece_after']:.3f}"
                for name, c in manifest.calibration.items()
            },
        ),
        *([_encoder_story(training)] if _is_tabletop(manifest) else []),
        _limits(manifest),
    ]
    return "\n\n".join(sections) + "\n"


def _is_tabletop(manifest: Manifest) -> bool:
    return "scenes" in manifest.training


def _caution(manifest: Manifest) -> str:
    if not _is_tabletop(manifest):
        return ""
    return """ Its numbers
say that the software works; **they are not Ego4D numbers** and say nothing about real video."""


def _scores(manifest: Manifest) -> str:
    tables = [
        format_table(split, {"model": found, **manifest.baselines[split]})
        for split, found in manifest.metrics.items()
    ]
    about = """## What it scores

`chance` draws uniformly. `frequency` answers the most frequent training class, the mean
training position (PNR), and for LTA the better of the most frequent class repeated and
five futures drawn from the training frequencies."""
    return "\n\n".join([about, *tables])


def _calibration(manifest: Manifest) -> str:
    drawn_at = ModelConfig.from_dict(manifest.model).future_temperature
    if manifest.forecaster:
        drawn_at *= manifest.forecaster["config"]["temperature"]
    return f"""## Calibration

One temperature per output, fitted on val; expected calibration error
on val before and after. As it is the same val, the error after, and every `ece` of val, is
optimistic. Temperatures make the probabilities shown; LTA's futures are drawn at {drawn_at:g}."""


def _encoder_story(training: dict[str, Any]) -> str:
    return f"""## What the encoder learnt from

Footage of its own, as Omnivore's is not Ego4D: {training["scenes"]} short scenes of the same
generator, with other looks, places and orders, of the training split's share only. First what each
place of an image shows (nouns, hands, the thing being acted on), then the verb and noun of each
action. It saw no video of any split, and no state change or key frame was labelled for it."""


def _limits(manifest: Manifest) -> str:
    licence = manifest.training["licence"]
    if not _is_tabletop(manifest):
        by_name = manifest.encoder["kind"] == "features"
        encoder = " It knows the features' encoder by name only." if by_name else ""
        return f"## Licence and limits\n\n{licence}.{encoder}"
    return f"""## Licence and limits

{licence}, weights included; the training data are generated by the project itself.
Use it to try the server and to test software built on it. It knows
{len(manifest.label_spaces["verb"])} verbs and {len(manifest.label_spaces["noun"])} nouns of drawn
objects, and nothing else: on any real video its answers are meaningless."""


def _rows(name: str, value: str, rows: dict[str, str]) -> str:
    columns = value.count("|") + 1
    lines = [f"| {name} | {value} |", "|---|" + "---:|" * columns]
    return "\n".join([*lines, *(f"| {k} | {v} |" for k, v in rows.items())])
