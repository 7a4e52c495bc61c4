"""Methods of the paper as trainings that depend on each other (Tables 1, 2, 4, 6, 7).

`Trainer` carries out a `Training` on the tensors of those it depends on, and rebuilds its models
from tensors; storage is the caller's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor, nn

from model.config import FitConfig, Learning, ModelConfig
from model.data.samples import Samples
from model.distributed import ALONE, World
from model.nn.backpack import Backpack
from model.nn.multitask import MultiTaskModel
from model.nn.skill import Skill
from model.nn.skill_set import Backbone, skill_from_multitask
from model.tasks import AR, TASKS
from model.train.fit import FitJob
from model.train.methods.stages import (
    SkillOnBackbone,
    fill_backpack,
    train_multitask,
    train_skill,
    tuned_parts,
)
from model.train.methods.translation import TranslatedTask, Translator, train_translation
from weights.bundle import fingerprint

Tensors = dict[str, Tensor]

ALL_TASKS = tuple(TASKS)

MULTITASK = ("mlp", "temporal", "mtl", "mtl-pcgrad")
"""Kinds that train known tasks: alone without or with the graph, together, with surgery."""

SKILLS = ("mtl-ft", "egopack", "egopack-shared")
"""Kinds that train a novel task on a multi-task model."""

MOVES_BACKBONE = ("mtl-ft", "egopack")
"""Skills whose backbone is their own."""

MOVES_HEADS = ("egopack",)
"""Skills with a backbone of their own that use the heads of its known tasks."""

NEEDS_OTHERS = (*SKILLS, "mtl-tt")
"""Kinds that depend on a model of the other tasks."""

TRANSLATIONS = ("tt", "mtl-tt")
"""Kinds that translate other models' features."""

LABELS = {
    "mlp": "MLP",
    "temporal": "Temporal Graph",
    "mtl": "MTL",
    "mtl-pcgrad": "MTL + PCGrad",
    "tt": "Task Translation",
    "mtl-ft": "MTL + FT",
    "mtl-tt": "MTL + TT",
    "egopack": "EgoPack",
    "egopack-shared": "EgoPack, one shared backbone",
}
"""Method -> its name in the paper's tables; the last is ours (one pass for all tasks)."""

SERVABLE = tuple(name for name in LABELS if name not in TRANSLATIONS)
"""Methods whose models a bundle can hold."""


@dataclass(frozen=True)
class Training:
    """One training.

    Attributes:
        kind: a method, or "backpack".
        tasks: that it is trained on, or the novel task.
        change: overridden fields of the `ModelConfig`, for ablations.
    """

    kind: str
    tasks: tuple[str, ...]
    change: tuple[tuple[str, int | str | bool], ...] = ()

    @property
    def name(self) -> str:
        """A file name: "egopack-ar", "mtl-ar+lta", "egopack-pnr@num_neighbours=8"."""
        changed = "".join(f"@{field}={value}" for field, value in self.change)
        return f"{self.kind}-{'+'.join(self.tasks)}{changed}"


def parts_of(method: str, tasks: tuple[str, ...] = ALL_TASKS) -> list[Training]:
    """Returns the trainings of one method whose models answer all tasks."""
    if method in ("mtl", "mtl-pcgrad"):
        return [Training(method, tasks)]
    return [Training(method, (task,)) for task in tasks]


def needs_of(part: Training, tasks: tuple[str, ...] = ALL_TASKS) -> list[Training]:
    """Returns the direct dependencies of a part, in order, where `tasks` are all tasks.

    A novel task depends on a model of all *other* tasks (leave one out); `egopack-shared` on one
    model of all tasks, so that all skills share its pass.
    """
    if part.kind in MULTITASK:
        return []
    if part.kind == "backpack":
        return [Training("mtl", part.tasks)]
    if part.kind == "tt":
        return [Training("temporal", (task,)) for task in tasks]
    shared = part.kind == "egopack-shared"
    known = tuple(t for t in tasks if shared or t not in part.tasks)
    below = [Training("mtl", known)]
    return [*below, Training("backpack", known)] if part.kind.startswith("egopack") else below


def has_backpack(method: str, tasks: tuple[str, ...] = ALL_TASKS) -> bool:
    """Whether a method has a backpack, which is filled from AR's training samples."""
    needs = [need for part in parts_of(method, tasks) for need in needs_of(part, tasks)]
    return any(need.kind == "backpack" for need in needs)


def model_of(part: Training, learning: Learning) -> ModelConfig:
    """Returns the model config of a part: no graph for the MLP, an ablation's changes."""
    config = replace(learning.model, **dict(part.change))  # type: ignore[arg-type]
    return replace(config, num_layers=0, final_linear=False) if part.kind == "mlp" else config


def fit_of(part: Training, learning: Learning) -> FitConfig:
    """Returns the optimisation of a part: only a skill with its own backbone fine-tunes it."""
    if part.kind in (*MULTITASK, "backpack"):
        return learning.multitask
    if part.kind in TRANSLATIONS:
        return learning.translation[part.tasks[0]]
    config = learning.skills[part.tasks[0]]
    return replace(
        config,
        tune_backbone=config.tune_backbone and part.kind in MOVES_BACKBONE,
        tune_heads=config.tune_heads and part.kind in MOVES_HEADS,
    )


@dataclass(frozen=True, eq=False)
class Trainer:
    """Carries out trainings: everything they need, dependencies aside.

    Attributes:
        samples: task -> training samples.
        num_labels: label space -> classes.
        learning: model and optimisation.
        seed: for all random generators.
        device: "cpu", "cuda" or "cuda:N".
        progress: shows progress bars.
        tasks: all tasks.
        actions: what the backpack is filled from; None takes AR's samples, even without AR among
            the tasks.
        world: the ranks that train together.
    """

    samples: Mapping[str, Samples]
    num_labels: Mapping[str, int]
    learning: Learning
    seed: int
    device: str = "cpu"
    progress: bool = True
    tasks: tuple[str, ...] = ALL_TASKS
    actions: Samples | None = None
    world: World = ALONE

    def needs(self, part: Training) -> list[Training]:
        """Returns the direct dependencies of a part, in order."""
        return needs_of(part, self.tasks)

    def config(self, part: Training) -> ModelConfig:
        """Returns the model config of a part; see `model_of`."""
        return model_of(part, self.learning)

    def fit_config(self, part: Training) -> FitConfig:
        """Returns the optimisation of a part; see `fit_of`."""
        return fit_of(part, self.learning)

    def train(
        self, part: Training, made: Mapping[Training, Tensors], *, checkpoint: Path | None = None
    ) -> Tensors:
        """Trains a part and returns its tensors.

        Args:
            part: to train.
            made: tensors of the parts it depends on.
            checkpoint: file of the last saved state.
        """
        config = self.fit_config(part)
        job = FitJob(config, self.seed, checkpoint, self.device, self.progress, self.world)
        if part.kind in MULTITASK:
            samples = {task: self.samples[task] for task in part.tasks}
            surgery = part.kind == "mtl-pcgrad"
            model = train_multitask(
                self.config(part), samples, self.num_labels, job, surgery=surgery
            )
            return dict(model.state_dict())
        if part.kind == "backpack":
            model = self._multitask(self.needs(part)[0], made)
            return fill_backpack(model, self._actions, device=self.device).to_tensors("backpack")
        own = self.samples[part.tasks[0]]
        spec = own.spec
        learner: nn.Module
        if part.kind in TRANSLATIONS:
            sources = self._sources(part, made)
            learner = train_translation(sources, spec, own, self.num_labels, job)
        else:
            known = () if part.kind == "mtl-ft" else None
            backbone = self._backbone(part, made)
            learner = train_skill(backbone, spec, own, self.num_labels, job, perspectives=known)
        return dict(learner.state_dict())

    def models(
        self, part: Training, made: Mapping[Training, Tensors], backbones: dict[Training, Backbone]
    ) -> dict[str, nn.Module]:
        """Returns task -> trained model, a `SkillOnBackbone` or a `TranslatedTask`.

        Args:
            part: to rebuild.
            made: tensors of the part and of its dependencies.
            backbones: cache of frozen backbones, by their parts, which skills share.
        """
        if part.kind in MULTITASK:
            model = self._multitask(part, made)
            backbone = backbones.setdefault(part, Backbone(model))
            return {
                task: SkillOnBackbone(
                    skill_from_multitask(backbone.model, task), backbone, tuned={}
                )
                for task in part.tasks
            }
        task = part.tasks[0]
        if part.kind in TRANSLATIONS:
            models = self._sources(part, made)
            width = self.learning.model.hidden_size
            translator = Translator(width, self.samples[task].spec, list(models), self.num_labels)
            translated = TranslatedTask(translator, models)
            translated.load_state_dict(made[part])
            return {task: translated.eval().requires_grad_(False)}
        below = self.needs(part)[-1]
        fresh = self._backbone(part, made)
        if not tuned_parts(fresh.model, self.fit_config(part)):
            fresh = backbones.setdefault(below, fresh)
        return {task: self._skill(part, fresh, made[part])}

    def _skill(self, part: Training, backbone: Backbone, tensors: Tensors) -> SkillOnBackbone:
        task = part.tasks[0]
        known = [t for t in backbone.model.specs if t != task] if backbone.backpack else []
        skill = Skill(self.config(part), self.samples[task].spec, known, self.num_labels)
        tuned = tuned_parts(backbone.model, self.fit_config(part))
        if tuned:
            tuned_from = fingerprint(dict(backbone.model.state_dict()))
            backbone = replace(backbone, tuned_from=tuned_from)
        learner = SkillOnBackbone(skill, backbone, tuned=tuned)
        learner.load_state_dict(tensors)
        return learner.eval().requires_grad_(False)

    def _multitask(self, part: Training, made: Mapping[Training, Tensors]) -> MultiTaskModel:
        specs = [self.samples[task].spec for task in part.tasks]
        model = MultiTaskModel(self.config(part), specs, self.num_labels)
        model.load_state_dict(made[part])
        return model.eval().requires_grad_(False)

    def _backbone(self, part: Training, made: Mapping[Training, Tensors]) -> Backbone:
        """The frozen model that a skill is trained on, with the part's changes to the config."""
        mtl, *backpack = self.needs(part)
        model = self._multitask(mtl, made)
        model.config = self.config(part)
        if not backpack:
            return Backbone(model)
        distance = model.config.distance
        outputs = self._actions.spec.outputs
        filled = Backpack.from_tensors(
            made[backpack[0]], "backpack", outputs=outputs, distance=distance
        )
        return Backbone(model, filled)

    @property
    def _actions(self) -> Samples:
        return self.samples[AR.name] if self.actions is None else self.actions

    def _sources(
        self, part: Training, made: Mapping[Training, Tensors]
    ) -> dict[str, MultiTaskModel]:
        models = [self._multitask(need, made) for need in self.needs(part)]
        return {task: model for model in models for task in model.specs}
