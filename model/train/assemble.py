"""The end of a run: calibration, metrics and manifest around the trained parts."""

from collections.abc import Mapping
from dataclasses import asdict, replace

import torch
from torch import Tensor

from extract.encoders.load import encoder_from_spec
from extract.runtime.onnx_export import export_encoder, is_exportable
from model.card import write_card
from model.config import Learning
from model.evaluate.calibration import calibrate, collect_logits
from model.evaluate.scoring import score_split
from model.evaluate.unseen import baselines
from model.nn.skill_set import Backbone, SkillSet
from model.train.datasets.prepared import Prepared
from model.train.methods.stages import SkillOnBackbone
from weights.bundle import Bundle, fingerprint
from weights.bundle.manifest import Manifest

SHARED = "shared"
"""Name of a backbone that is the only one of its bundle; others are named after their task."""


def group_skills(models: Mapping[str, SkillOnBackbone]) -> SkillSet:
    """Returns trained models as one set; those with the same backbone share its pass."""
    distinct = {id(models[task].backbone.model): task for task in reversed(list(models))}
    alone = len(distinct) == 1
    names = {held: SHARED if alone else task for held, task in distinct.items()}
    backbones = {names[id(m.backbone.model)]: m.backbone for m in models.values()}
    skills = {task: (m.skill, names[id(m.backbone.model)]) for task, m in models.items()}
    return SkillSet(backbones, skills).eval()


def score(skills: SkillSet, prepared: Prepared, learning: Learning) -> dict[str, object]:
    """Returns temperatures fitted on val, and the metrics of val and, where known, of test."""
    samples, config = prepared.samples, learning.model
    fitted = calibrate(*collect_logits(skills.task_models(), samples["val"], config))
    temperature = {name: c.temperature for name, c in fitted.items()}
    scored = [split for split in samples if split != "train"]
    return {
        "calibration": {name: asdict(c) for name, c in fitted.items()},
        "metrics": {s: score_split(skills, samples[s], config, temperature) for s in scored},
        "baselines": {
            s: baselines(samples["train"], samples[s], keyframe_rate=config.keyframe_rate)
            for s in scored
        },
    }


def assemble(
    name: str,
    skills: SkillSet,
    prepared: Prepared,
    learning: Learning,
    scores: Mapping[str, object],
    training: Mapping[str, object],
) -> Bundle:
    """Returns a bundle: trained skills, what they were learnt from and what they score.

    Args:
        name: of the bundle.
        skills: what it answers.
        prepared: the data.
        learning: how it was learnt.
        scores: as `score` returns them.
        training: protocol, command, seed, seconds of each stage, for the card.
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
    )
    return replace(bundle, card=write_card(manifest), encoder_onnx=_exported(prepared))


def _backbone_entry(backbone: Backbone) -> dict[str, object]:
    made_by = fingerprint(dict(backbone.model.state_dict()))
    entry: dict[str, object] = {
        "tasks": [spec.to_dict() for spec in backbone.model.specs.values()],
        "fingerprint": made_by,
        "backpack_fingerprint": None,
    }
    if backbone.backpack is not None:
        entry["backpack_fingerprint"] = backbone.tuned_from or made_by
    if backbone.tuned_from is not None:
        entry["tuned_from"] = backbone.tuned_from
    return entry


def _exported(prepared: Prepared) -> bytes:
    """The encoder's graph, where there is an encoder and it can be one."""
    if not prepared.encoder_tensors:
        return b""
    encoder = encoder_from_spec(prepared.encoder, prepared.encoder_tensors)
    return export_encoder(encoder) if is_exportable(encoder) else b""


def _training(prepared: Prepared, learning: Learning) -> dict[str, object]:
    return {
        "data": prepared.data,
        "torch": torch.__version__.split("+")[0],
        "learning": asdict(learning),
        "samples": {
            split: {task: len(s) for task, s in tasks.items()}
            for split, tasks in prepared.samples.items()
        },
        **prepared.facts,
    }
