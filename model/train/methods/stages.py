"""Training stages: multi-task model -> backpack -> one skill per task."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from model.config import FitConfig, ModelConfig
from model.data.samples import Batch, Samples
from model.evaluate.calibration import EVALUATION_BATCH
from model.nn.backpack import Backpack, average_per_action
from model.nn.multitask import MultiTaskModel
from model.nn.pooling import select_nodes
from model.nn.skill import Skill, Votes
from model.nn.skill_set import AnySkill, Backbone
from model.tasks import TaskSpec
from model.train.fit import FitJob, backward_of, fit, precision, reshuffled, shuffled
from model.train.methods.losses import task_loss
from model.train.methods.pcgrad import pcgrad_backward
from weights.bundle import fingerprint


def train_multitask(
    config: ModelConfig,
    samples: Mapping[str, Samples],
    num_labels: Mapping[str, int],
    job: FitJob,
    *,
    surgery: bool = False,
) -> MultiTaskModel:
    """Returns a model trained on all tasks of `samples`, their losses averaged (Sec. 3.2).

    Every step takes one batch of each task through one backbone pass; an epoch is one pass over
    the task with most samples, the others restart. With one task this is the paper's Temporal
    Graph, and without temporal layers its MLP.

    Args:
        config: sizes and choices.
        samples: task -> training samples.
        num_labels: label space -> classes.
        job: optimisation, seed, device and ranks.
        surgery: with PCGrad (Table 4).
    """
    torch.manual_seed(job.seed)
    fit_config, device, world = job.config, job.device, job.world
    model = MultiTaskModel(config, [s.spec for s in samples.values()], num_labels).to(device)
    steps = max(-(-len(s) // fit_config.batch_size) for s in samples.values())

    def batches(generator: torch.Generator) -> Iterator[dict[str, Batch]]:
        return _side_by_side(samples, config, job, steps, generator)

    def losses(batch: dict[str, Batch]) -> Tensor:
        with precision(job):
            logits = model({task: b.inputs for task, b in batch.items()})
        each = [
            task_loss(model.specs[t], logits[t], b.labels, config=fit_config, shares=b.shares)
            for t, b in batch.items()
        ]
        scale = len(each) if fit_config.task_losses == "mean" else 1
        return torch.stack(each) / scale

    def total(batch: dict[str, Batch]) -> Tensor:
        return losses(batch).sum()

    if surgery:
        backward = pcgrad_backward(model.backbone, model, losses, world)
    else:
        backward = backward_of(total, model, world)
    fit(model, batches, backward, job, steps_per_epoch=steps, label="+".join(samples))
    return model.cpu().requires_grad_(False)


def _side_by_side(
    samples: Mapping[str, Samples],
    config: ModelConfig,
    job: FitJob,
    steps: int,
    generator: torch.Generator,
) -> Iterator[dict[str, Batch]]:
    """One batch of every task a step; tasks with fewer samples restart, reshuffled."""
    size = job.config.batch_size
    streams = {
        task: islice(reshuffled(len(s), size, generator), steps) for task, s in samples.items()
    }
    for chosen in zip(*streams.values(), strict=True):
        yield {
            task: _draw(samples[task], which, config, job, generator)
            for task, which in zip(streams, chosen, strict=True)
        }


@torch.inference_mode()
def fill_backpack(model: MultiTaskModel, actions: Samples, *, device: str = "cpu") -> Backpack:
    """Returns the prototypes of every known task from labelled actions of training (Sec. 3.3).

    All samples count, with the vectors of evaluation, so the result is deterministic.

    Args:
        model: trained.
        actions: AR's samples, or ones in the same graphs with other labels.
        device: of the passes.
    """
    model.eval().to(device)
    views: dict[str, list[Tensor]] = {task: [] for task in model.heads}
    spec = actions.spec
    labels: dict[str, list[Tensor]] = {output: [] for output in spec.outputs}
    for which in torch.arange(len(actions)).split(EVALUATION_BATCH):
        batch = actions.draw(which, model.config)
        union = model.features({spec.name: batch.inputs.to(device)}, specs={spec.name: spec})
        centre = select_nodes(spec, union[spec.name])[:, 0]
        for task, view in model.perspectives(centre).items():
            views[task].append(view.cpu())
        for output, values in batch.labels.items():
            labels[output].append(values[:, 0])
    model.cpu()
    joined = {task: torch.cat(parts) for task, parts in views.items()}
    return average_per_action(
        joined,
        {output: torch.cat(parts) for output, parts in labels.items()},
        scale=model.config.prototypes,
        distance=model.config.distance,
    )


class SkillOnBackbone(nn.Module):
    """One skill and its backbone; only what is trained is a submodule.

    Attributes:
        skill: of the novel task.
        tuned: parts of the backbone that are trained with it, by name.
    """

    def __init__(
        self, skill: AnySkill, backbone: Backbone, *, tuned: Mapping[str, nn.Module]
    ) -> None:
        super().__init__()
        self.skill = skill
        self._held = (backbone,)  # a tuple hides it from `parameters` and `state_dict`
        self.tuned = nn.ModuleDict(tuned)

    @property
    def backbone(self) -> Backbone:
        """Multi-task model and backpack."""
        return self._held[0]

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        """Returns the fused logits, output -> (G, n, Y), of observed nodes (G, n, S, D_in)."""
        model, spec = self.backbone.model, self.skill.spec
        features = model.features({spec.name: inputs}, specs={spec.name: spec})[spec.name]
        votes: Votes = self.skill(
            features, model.heads, self.backbone.backpack, views_learn="heads" in self.tuned
        )
        return votes.fused()


def tuned_parts(model: MultiTaskModel, fit_config: FitConfig) -> dict[str, nn.Module]:
    """Returns the parts of a multi-task model that are trained with a skill on it, by name."""
    moved = {"backbone": fit_config.tune_backbone, "heads": fit_config.tune_heads}
    return {name: getattr(model, name) for name, moves in moved.items() if moves}


def train_skill(
    backbone: Backbone,
    spec: TaskSpec,
    samples: Samples,
    num_labels: Mapping[str, int],
    job: FitJob,
    *,
    perspectives: tuple[str, ...] | None = None,
) -> SkillOnBackbone:
    """Returns a skill trained on a backbone with the other tasks' backpack (Sec. 3.3).

    Fine-tuning changes a copy of the backbone.

    Args:
        backbone: multi-task model and its backpack.
        spec: the novel task.
        samples: its training samples.
        num_labels: label space -> classes.
        job: optimisation, seed, device and ranks; what of the backbone is fine-tuned.
        perspectives: known tasks whose perspectives vote; None: all but the novel one; (): none,
            which is fine-tuning with a new head.
    """
    torch.manual_seed(job.seed)
    known = [task for task in backbone.model.specs if task != spec.name]
    if perspectives is not None:
        known = list(perspectives)
    skill = Skill(backbone.model.config, spec, known, num_labels)
    backbone, tuned = _to_tune(backbone, job.config)
    on_device = backbone.to(job.device)
    learner = SkillOnBackbone(skill, on_device, tuned=tuned).to(job.device)
    fit_task(learner, spec, samples, backbone.model.config, job, label=f"skill {spec.name}")
    learner.requires_grad_(False).cpu()
    return SkillOnBackbone(skill, replace(backbone, model=backbone.model.cpu()), tuned=tuned)


def fit_task(
    learner: nn.Module,
    spec: TaskSpec,
    samples: Samples,
    config: ModelConfig,
    job: FitJob,
    *,
    label: str,
) -> None:
    """Trains, in place, a module that maps a batch's inputs to the logits of one task."""

    def batches(generator: torch.Generator) -> Iterator[Batch]:
        for which in shuffled(len(samples), job.config.batch_size, generator):
            yield _draw(samples, which, config, job, generator)

    def loss(batch: Batch) -> Tensor:
        with precision(job):
            logits = learner(batch.inputs)
        return task_loss(spec, logits, batch.labels, config=job.config, shares=batch.shares)

    backward = backward_of(loss, learner, job.world)
    steps = -(-len(samples) // job.config.batch_size)
    fit(learner, batches, backward, job, steps_per_epoch=steps, label=label)


def _to_tune(backbone: Backbone, fit_config: FitConfig) -> tuple[Backbone, dict[str, nn.Module]]:
    """Returns the backbone, copied if it is fine-tuned, and its trained parts."""
    backbone.model.eval()
    if not tuned_parts(backbone.model, fit_config):
        return backbone, {}
    model = copy.deepcopy(backbone.model)
    tuned = {name: m.requires_grad_(True) for name, m in tuned_parts(model, fit_config).items()}
    tuned_from = fingerprint(dict(backbone.model.state_dict()))
    return replace(backbone, model=model, tuned_from=tuned_from), tuned


def _draw(
    samples: Samples,
    which: Tensor,
    config: ModelConfig,
    job: FitJob,
    generator: torch.Generator,
) -> Batch:
    """Returns this rank's part of a training batch, with random rows, crops and context dropout."""
    fit_config, world = job.config, job.world
    batch = samples.draw(
        which,
        config,
        generator=generator,
        context_dropout=fit_config.context_dropout,
        keyframe_crop=fit_config.keyframe_crop,
        part=world.part(len(which)) if world.size > 1 else None,
    )
    if fit_config.feature_dropout:
        batch = replace(batch, inputs=F.dropout(batch.inputs, fit_config.feature_dropout))
    return batch.to(job.device)
