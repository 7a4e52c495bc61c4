"""Skill set: all models of a bundle, with one pass per distinct backbone."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from model.config import ModelConfig
from model.errors import BackpackInvalid
from model.nn.backpack import Backpack
from model.nn.few_labels.skill import FewLabelSkill, empty_voters
from model.nn.few_labels.voters import EXAMPLES, VOTERS
from model.nn.knn import SearchName
from model.nn.multitask import MultiTaskModel
from model.nn.skill import Skill, Votes
from model.tasks import AR, FIXED_LABELS, TaskSpec
from weights.bundle import Bundle, fingerprint
from weights.bundle.manifest import MANIFEST_FILE
from weights.errors import BundleError

AnySkill = Skill | FewLabelSkill


@dataclass(frozen=True, eq=False)
class Backbone:
    """A multi-task model and the backpack made by its heads.

    Attributes:
        model: backbone and known tasks' heads.
        backpack: None if no skill on this backbone has perspectives.
        tuned_from: fingerprint of the model that filled the backpack, if a novel task's training
            has changed the backbone since (protocol `paper`).
    """

    model: MultiTaskModel
    backpack: Backpack | None = None
    tuned_from: str | None = None

    def to(self, device: str | torch.device) -> "Backbone":
        """Returns the same with model and prototypes on another device; the model moves."""
        backpack = None if self.backpack is None else self.backpack.to(device)
        return Backbone(self.model.to(device), backpack, self.tuned_from)


def skill_from_multitask(model: MultiTaskModel, task: str) -> Skill:
    """Returns a known task of a multi-task model as a skill without perspectives."""
    skill = Skill(model.config, model.specs[task], (), model.num_labels)
    skill.head.load_state_dict(model.heads[task].state_dict())
    skill.classifier.load_state_dict(model.classifiers[task].state_dict())
    return skill.eval().requires_grad_(False)


class SkillSet(nn.Module):
    """Skills grouped by the backbone they run on.

    Attributes:
        skills: task -> skill.
        specs: task -> spec, of all skills.
        backbone_passes: passes so far, over all backbones.
    """

    def __init__(
        self, backbones: Mapping[str, Backbone], skills: Mapping[str, tuple[AnySkill, str]]
    ):
        """Groups skills by backbone.

        Args:
            backbones: name -> frozen model and its backpack.
            skills: task -> skill and the name of its backbone.
        """
        super().__init__()
        self.models = {name: b.model for name, b in backbones.items()}
        self.skills = {task: skill for task, (skill, _) in skills.items()}
        self._modules_held = nn.ModuleList([*self.models.values(), *self.skills.values()])
        self.backpacks = {name: b.backpack for name, b in backbones.items()}
        self.tuned_from = {name: b.tuned_from for name, b in backbones.items()}
        self.backbone_of = {task: name for task, (_, name) in skills.items()}
        self.specs: dict[str, TaskSpec] = {task: skill.spec for task, (skill, _) in skills.items()}

    @property
    def backbone_passes(self) -> int:
        """Passes made so far through all backbones."""
        return sum(model.backbone.passes for model in self.models.values())

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Votes]:
        """Returns every skill's votes; skills that share a backbone share its one pass.

        Args:
            inputs: task -> observed nodes, (G, n, S, D_in).
        """
        votes = {}
        for name, model in self.models.items():
            mine = {t: x for t, x in inputs.items() if self.backbone_of[t] == name}
            if not mine:
                continue
            features = model.features(mine, specs=self.specs)
            for task, nodes in features.items():
                votes[task] = self.skills[task](nodes, model.heads, self.backpacks[name])
        return votes

    def task_models(self) -> dict[str, Callable[[Tensor], dict[str, Tensor]]]:
        """Returns every task's fused logits as a function of its inputs alone."""

        def answer(task: str) -> Callable[[Tensor], dict[str, Tensor]]:
            return lambda inputs: self({task: inputs})[task].fused()

        return {task: answer(task) for task in self.skills}


def build_skills(
    bundle: Bundle, *, search: SearchName = "auto", device: str | torch.device = "cpu"
) -> SkillSet:
    """Rebuilds every model of a bundle, strictly.

    Raises:
        BundleError: a tensor is missing, unknown or of another shape, or the backpack was filled
            by another backbone.
    """
    manifest = bundle.manifest
    try:
        config = ModelConfig.from_dict(manifest.model)
    except (TypeError, ValueError) as error:
        raise BundleError(MANIFEST_FILE, expected="a model config", found=str(error)) from error
    num_labels = {space: len(names) for space, names in manifest.label_spaces.items()}
    num_labels |= {space: len(names) for space, names in FIXED_LABELS.items()}
    backbones = {}
    for name, facts in manifest.backbones.items():
        specs = [TaskSpec.from_dict(values) for values in facts["tasks"]]
        model = MultiTaskModel(config, specs, num_labels)
        file = f"backbone-{name}.safetensors"
        load_strictly(model, bundle.backbones[name], file)
        found = fingerprint(bundle.backbones[name])
        if found != facts["fingerprint"]:
            raise BundleError(file, expected=f"fingerprint {facts['fingerprint']}", found=found)
        backpack = _backpack(bundle, name, found, search, config)
        backbones[name] = Backbone(model, backpack, facts.get("tuned_from")).to(device)
    skills = {}
    for task, facts in manifest.skills.items():
        skill = _empty_skill(facts, config, num_labels, backbones[facts["backbone"]].backpack)
        load_strictly(skill, bundle.skills[task], f"skill-{task}.safetensors")
        skills[task] = (skill, facts["backbone"])
    return SkillSet(backbones, skills).eval().requires_grad_(False).to(device)


def _empty_skill(
    facts: Mapping[str, Any],
    config: ModelConfig,
    num_labels: Mapping[str, int],
    backpack: Backpack | None,
) -> AnySkill:
    """A skill as its entry in the manifest has it, with the weights still to be loaded."""
    spec, perspectives = TaskSpec.from_dict(facts["spec"]), facts["perspectives"]
    if "voters" not in facts:
        return Skill(config, spec, perspectives, num_labels)
    names = [*facts["voters"], *([EXAMPLES] if facts["examples"] else [])]
    unknown = sorted(set(names) - set(VOTERS))
    if unknown:
        raise BundleError(
            MANIFEST_FILE, expected=f"voters among {', '.join(VOTERS)}", found=unknown[0]
        )
    fitted = empty_voters(
        names,
        width=config.hidden_size,
        prototypes=0 if backpack is None else len(backpack.count),
        views=len(perspectives),
        labels=num_labels[spec.outputs[0]],
        examples=len(facts["examples"]),
    )
    return FewLabelSkill(spec, perspectives, facts["voters"], fitted, config.num_neighbours)


def _backpack(
    bundle: Bundle, name: str, found: str, search: SearchName, config: ModelConfig
) -> Backpack | None:
    facts = bundle.manifest.backbones[name]
    filled_by, maker = facts["backpack_fingerprint"], facts.get("tuned_from", found)
    if filled_by is None:
        return None
    if filled_by != maker:
        raise BundleError(
            "backpack.safetensors",
            expected=f"prototypes made by backbone {maker}",
            found=f"prototypes made by {filled_by}",
        )
    try:
        outputs = facts.get("prototypes", AR.outputs)
        return Backpack.from_tensors(
            bundle.backpack, name, outputs=outputs, search=search, distance=config.distance
        )
    except BackpackInvalid as error:
        raise BundleError(
            "backpack.safetensors", expected=f"prototypes for backbone {name!r}", found=str(error)
        ) from error


def load_strictly(module: nn.Module, tensors: dict[str, Tensor], file: str) -> None:
    """Loads tensors into a module.

    Raises:
        BundleError: one is missing, unknown or of another shape.
    """
    wanted = {name: tuple(t.shape) for name, t in module.state_dict().items()}
    found = {name: tuple(t.shape) for name, t in tensors.items()}
    if wanted != found:
        name = sorted(k for k in wanted | found if wanted.get(k) != found.get(k))[0]
        raise BundleError(
            file,
            expected=f"{name} of shape {wanted.get(name, 'nothing')}",
            found=f"{found.get(name, 'nothing')}",
        )
    with torch.no_grad():
        module.load_state_dict(tensors)
