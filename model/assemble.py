"""The end of a run: calibration, metrics and manifest around the trained parts."""

from dataclasses import asdict, replace

import torch

from extract.loading import encoder_spec
from extract.swin import SwinEncoder
from model.card import write_card
from model.data.samples import Samples
from model.egopack import Skill
from model.presets import Preset
from model.scoring import baselines, score_split
from model.skills import Backbone, SkillSet
from model.stages import calibrate, collect_logits
from weights.bundle import Bundle, fingerprint
from weights.manifest import Manifest

BACKBONE = "shared"
SCORED = ("val", "test")


def assemble(
    preset: Preset,
    encoder: SwinEncoder,
    backbone: Backbone,
    skills: dict[str, Skill],
    samples: dict[str, dict[str, Samples]],
    labels: dict[str, list[str]],
    *,
    made: dict[str, object],
) -> Bundle:
    """Returns the bundle of one shared backbone: calibrated on val, scored on val and test.

    Args:
        preset: how everything was trained.
        encoder: what made the features.
        backbone: multi-task model and backpack.
        skills: task -> its skill.
        samples: split -> task -> samples.
        labels: "verb" and "noun" -> names.
        made: seed, threads and seconds of each stage, for the card.
    """
    skill_set = SkillSet(
        {BACKBONE: backbone}, {task: (skill, BACKBONE) for task, skill in skills.items()}
    ).eval()
    fitted = calibrate(*collect_logits(skill_set, samples["val"], preset.model))
    temperature = {name: c.temperature for name, c in fitted.items()}
    tensors = dict(backbone.model.state_dict())
    manifest = Manifest(
        name=preset.name,
        version="1",
        encoder=encoder_spec(encoder),
        model=preset.model.to_dict(),
        backbones={BACKBONE: _backbone_entry(backbone)},
        skills={
            task: {
                "spec": skill.spec.to_dict(),
                "backbone": BACKBONE,
                "perspectives": list(skill.perspectives),
            }
            for task, skill in skills.items()
        },
        label_spaces=labels,
        calibration={name: asdict(c) for name, c in fitted.items()},
        training=_training(preset, samples, made),
        metrics={
            split: score_split(skill_set, samples[split], preset.model, temperature)
            for split in SCORED
        },
        baselines={split: baselines(samples["train"], samples[split]) for split in SCORED},
    )
    bundle = Bundle(
        manifest=manifest,
        encoder=encoder.state_dict(),
        backbones={BACKBONE: tensors},
        skills={task: dict(skill.state_dict()) for task, skill in skills.items()},
        backpack=backbone.backpack.to_tensors(BACKBONE),
    )
    return replace(bundle, card=write_card(manifest))


def _backbone_entry(backbone: Backbone) -> dict[str, object]:
    made_by = fingerprint(dict(backbone.model.state_dict()))
    return {
        "tasks": [spec.to_dict() for spec in backbone.model.specs.values()],
        "fingerprint": made_by,
        "backpack_fingerprint": made_by,
    }


def _training(
    preset: Preset, samples: dict[str, dict[str, Samples]], made: dict[str, object]
) -> dict[str, object]:
    return {
        "data": "tabletop, a generated world (not Ego4D)",
        "licence": "Apache-2.0",
        "protocol": "shared",
        "command": "python -m model.train"
        + (" --smoke" if preset.name == "smoke" else "")
        + (f" --seed {made['seed']}" if made["seed"] else ""),
        "torch": torch.__version__.split("+")[0],
        "world": asdict(preset.world),
        "scenes": preset.scenes,
        "pretrain": asdict(preset.pretrain),
        "multitask": asdict(preset.multitask),
        "skills": {task: asdict(config) for task, config in preset.skills.items()},
        "samples": {
            split: {task: len(s) for task, s in tasks.items()} for split, tasks in samples.items()
        },
        **made,
    }
