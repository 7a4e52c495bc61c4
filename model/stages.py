"""The stages of learning: multi-task model -> backpack -> one skill per task -> temperatures."""

from collections.abc import Iterator, Mapping
from itertools import cycle, islice
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.backpack import Backpack, average_per_action
from model.calibration import Calibration, fit_temperature
from model.config import FitConfig, ModelConfig
from model.data.samples import Batch, Samples
from model.egopack import Skill
from model.fit import backward_of, fit, shuffled
from model.losses import task_loss
from model.multitask import MultiTaskModel
from model.pooling import select_nodes
from model.skills import SkillSet
from model.tasks import AR, TaskSpec

EVALUATION_BATCH = 64


def train_multitask(
    config: ModelConfig,
    samples: Mapping[str, Samples],
    num_labels: Mapping[str, int],
    *,
    fit_config: FitConfig,
    seed: int,
    checkpoint: Path | None = None,
) -> MultiTaskModel:
    """Returns a model trained on all tasks given, their losses averaged (Sec. 3.2).

    Every step takes one batch of each task through one backbone pass; an epoch is as long as
    the task with most samples, shorter ones start over.
    """
    torch.manual_seed(seed)
    model = MultiTaskModel(config, [s.spec for s in samples.values()], num_labels)
    steps = max(-(-len(s) // fit_config.batch_size) for s in samples.values())

    def batches(generator: torch.Generator) -> Iterator[dict[str, Batch]]:
        streams = {
            task: islice(cycle(list(shuffled(len(s), fit_config.batch_size, generator))), steps)
            for task, s in samples.items()
        }
        for chosen in zip(*streams.values(), strict=True):
            yield {
                task: _draw(samples[task], which, config, fit_config, generator)
                for task, which in zip(streams, chosen, strict=True)
            }

    def loss(batch: dict[str, Batch]) -> Tensor:
        logits = model({task: b.inputs for task, b in batch.items()})
        smoothing = fit_config.label_smoothing
        losses = [task_loss(logits[t], b.labels, smoothing=smoothing) for t, b in batch.items()]
        return torch.stack(losses).mean()

    fit(
        model,
        batches,
        backward_of(loss),
        config=fit_config,
        steps_per_epoch=steps,
        seed=seed,
        label="multi-task",
        checkpoint=checkpoint,
    )
    return model.requires_grad_(False)


@torch.inference_mode()
def fill_backpack(model: MultiTaskModel, actions: Samples) -> Backpack:
    """Returns the prototypes of every known task from AR's training samples (Sec. 3.3).

    All samples count, with the vectors evaluation picks, so the result does not depend on luck.
    """
    model.eval()
    views: dict[str, list[Tensor]] = {task: [] for task in model.heads}
    verbs, nouns = [], []
    for which in torch.arange(len(actions)).split(EVALUATION_BATCH):
        batch = actions.draw(which, model.config)
        centre = select_nodes(AR, model.features({AR.name: batch.inputs})[AR.name])[:, 0]
        for task, view in model.perspectives(centre).items():
            views[task].append(view)
        verbs.append(batch.labels["verb"][:, 0])
        nouns.append(batch.labels["noun"][:, 0])
    joined = {task: torch.cat(parts) for task, parts in views.items()}
    return average_per_action(joined, torch.cat(verbs), torch.cat(nouns))


class _SkillOnBackbone(nn.Module):
    """A skill in training: only the skill is a submodule, so only it is trained and saved."""

    def __init__(self, skill: Skill, model: MultiTaskModel, backpack: Backpack) -> None:
        super().__init__()
        self.skill = skill
        self._frozen = (model.eval(), backpack)

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        model, backpack = self._frozen
        task = self.skill.spec.name
        with torch.no_grad():
            features = model.features({task: inputs})[task]
        fused: dict[str, Tensor] = self.skill(features, model.heads, backpack).fused()
        return fused


def train_skill(
    model: MultiTaskModel,
    backpack: Backpack,
    spec: TaskSpec,
    samples: Samples,
    num_labels: Mapping[str, int],
    *,
    fit_config: FitConfig,
    seed: int,
    checkpoint: Path | None = None,
) -> Skill:
    """Returns a task learnt on a frozen backbone with the other tasks' backpack (Sec. 3.3).

    Protocol `shared`: the known perspectives are all tasks of the model but the one learnt.
    """
    torch.manual_seed(seed)
    known = [task for task in model.specs if task != spec.name]
    learner = _SkillOnBackbone(Skill(model.config, spec, known, num_labels), model, backpack)

    def batches(generator: torch.Generator) -> Iterator[Batch]:
        for which in shuffled(len(samples), fit_config.batch_size, generator):
            yield _draw(samples, which, model.config, fit_config, generator)

    def loss(batch: Batch) -> Tensor:
        return task_loss(learner(batch.inputs), batch.labels, smoothing=fit_config.label_smoothing)

    fit(
        learner,
        batches,
        backward_of(loss),
        config=fit_config,
        steps_per_epoch=-(-len(samples) // fit_config.batch_size),
        seed=seed,
        label=f"skill {spec.name}",
        checkpoint=checkpoint,
    )
    return learner.skill.requires_grad_(False)


@torch.inference_mode()
def collect_logits(
    skills: SkillSet, samples: Mapping[str, Samples], config: ModelConfig
) -> tuple[dict[str, dict[str, Tensor]], dict[str, dict[str, Tensor]]]:
    """Runs every sample; returns fused logits (M, n, Y) and labels (M, n), task -> output."""
    logits: dict[str, dict[str, Tensor]] = {}
    labels: dict[str, dict[str, Tensor]] = {}
    for task, split in samples.items():
        found: dict[str, list[Tensor]] = {}
        truth: dict[str, list[Tensor]] = {}
        for which in torch.arange(len(split)).split(EVALUATION_BATCH):
            batch = split.draw(which, config)
            for name, values in skills({task: batch.inputs})[task].fused().items():
                found.setdefault(name, []).append(values)
                truth.setdefault(name, []).append(batch.labels[name])
        logits[task] = {name: torch.cat(parts) for name, parts in found.items()}
        labels[task] = {name: torch.cat(parts) for name, parts in truth.items()}
    return logits, labels


def calibrate(
    logits: Mapping[str, Mapping[str, Tensor]], labels: Mapping[str, Mapping[str, Tensor]]
) -> dict[str, Calibration]:
    """Fits one temperature per output on validation logits, "task.output" -> calibration."""
    fitted = {}
    for task, outputs in logits.items():
        for name, values in outputs.items():
            truth = labels[task][name]
            if values.shape[-1] == 1:  # nodes compete for the one keyframe
                rows, target = values.squeeze(-1), truth.argmax(dim=1)
            else:
                rows, target = values.flatten(0, 1), truth.flatten()
            fitted[f"{task}.{name}"] = fit_temperature(rows, target)
    return fitted


def _draw(
    samples: Samples,
    which: Tensor,
    config: ModelConfig,
    fit_config: FitConfig,
    generator: torch.Generator,
) -> Batch:
    batch = samples.draw(
        which, config, generator=generator, context_dropout=fit_config.context_dropout
    )
    if not fit_config.feature_dropout:
        return batch
    return Batch(F.dropout(batch.inputs, fit_config.feature_dropout), batch.labels)
