"""User-defined task: learnt on a bundle's frozen backbone and scored.

By voters of few labels, or by the paper's interaction with the backpack, trained by gradients.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from torch import Tensor

from model.data.samples import Samples
from model.data.tables.label_file import LabelRow
from model.data.task_file import TaskFile
from model.errors import BackpackInvalid
from model.evaluate.calibration import calibrate, collect_logits
from model.evaluate.tables import format_table
from model.nn.few_labels.examples import MOST_EXAMPLES
from model.nn.few_labels.panel import Panel
from model.nn.few_labels.voters import EXAMPLES, OWN, VOTERS
from model.nn.skill_set import Backbone
from model.predict.predictor import Predictor
from model.train.fit import FitJob
from model.train.methods.stages import SkillOnBackbone, train_skill
from model.train.new_skill.confidence import Confidence, Temperature, choose_temperature, judge
from model.train.new_skill.few_labels import READOUTS, classes_of, learn_panel, rows_of, served
from model.train.new_skill.scores import Scores, score, score_frequency

Method = Literal["auto", "head", "egopack"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True, eq=False)
class Learnt:
    """What learning leaves beside the weights.

    Attributes:
        temperature: of the skill's one output.
        training: method, hyper-parameters and seed.
        confidence: of a skill of voters, by cross-validation.
        examples: of a skill of voters, the labelled segments that are its evidence: video,
            seconds and label id.
        notes: what the user should know of it, a sentence each.
        panel: of a skill of voters, all that were fitted.
        held_out: of a skill of voters, fused log-probabilities of held-out training labels and
            these, as `Panel.cross_validated` returns them.
    """

    temperature: Temperature
    training: dict[str, object]
    confidence: Confidence | None = None
    examples: list[dict[str, Any]] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    panel: Panel | None = None
    held_out: tuple[Tensor, Tensor] | None = None

    def lines(self) -> list[str]:
        """Returns what is said at the end of the command and in the card."""
        return [*([] if self.confidence is None else [self.confidence.words()]), *self.notes]


@dataclass(frozen=True, eq=False)
class TrainedSkill:
    """A trained skill, and what its bundle says of it.

    Attributes:
        learner: the skill on its backbone.
        backbone: name of that backbone in the bundle.
        labels: names by id.
        learnt: how.
        metrics: split -> scores.
        baselines: split -> "frequency" -> scores of a constant answer.
        num_samples: split -> number of samples.
    """

    learner: SkillOnBackbone
    backbone: str
    labels: list[str]
    learnt: Learnt
    metrics: dict[str, Scores]
    baselines: dict[str, dict[str, Scores]]
    num_samples: dict[str, int]

    def table(self, split: str) -> str:
        """Returns the scores of one split as a Markdown table."""
        task = self.learner.skill.spec.name
        columns = {"model": self.metrics[split], **self.baselines[split]}
        return format_table(split, {name: {task: scores} for name, scores in columns.items()})


def learn_skill(
    predictor: Predictor,
    task: TaskFile,
    samples: Mapping[str, Samples],
    labels: list[str],
    *,
    seed: int,
    sources: Mapping[str, LabelRow],
    method: Method = "auto",
    has_backpack: bool = True,
    checkpoint: Path | None = None,
    progress: bool = True,
) -> TrainedSkill:
    """Learns a task from its training samples and scores it on the other splits.

    Args:
        predictor: has the frozen backbone and the backpack.
        task: to learn.
        samples: "train" and other splits; a skill by gradients needs "val" for its temperature.
        labels: names by id.
        seed: for all random generators.
        sources: name of a sample -> its row in the labels file.
        method: "auto" weighs all voters, "head" is the plain one alone, "egopack" the paper's
            interaction, trained by gradients. A task of another kind than `READOUTS` is always
            trained by gradients.
        has_backpack: without it only the task's own head is trained and votes (fine-tuning).
        checkpoint: file of the last saved state of a training by gradients.
        progress: shows a progress bar of it.

    Raises:
        BackpackInvalid: the bundle has no backpack.
    """
    has_backpack = has_backpack and method != "head"
    name, backbone = choose_backbone(predictor, has_backpack=has_backpack)
    if is_voted(task, method):
        backbone = backbone if has_backpack else Backbone(backbone.model)
        learner, learnt = _by_voters(backbone, samples["train"], len(labels), seed, sources)
    else:
        job = FitJob(task.fit_for(len(samples["train"])), seed, checkpoint, progress=progress)
        learner, learnt = _by_gradients(backbone, samples, len(labels), job, has_backpack)
    held_out = {split: s for split, s in samples.items() if split != "train"}
    temperature = learnt.temperature.value
    return TrainedSkill(
        learner,
        name,
        labels,
        learnt,
        metrics={
            split: score(learner, s, temperature=temperature) for split, s in held_out.items()
        },
        baselines={
            split: {"frequency": score_frequency(samples["train"], s)}
            for split, s in held_out.items()
        },
        num_samples={split: len(s) for split, s in samples.items()},
    )


def is_voted(task: TaskFile, method: Method) -> bool:
    """Returns whether a task is learnt by voters, not by gradients."""
    return method != "egopack" and task.spec.readout in READOUTS


def _by_voters(
    backbone: Backbone,
    samples: Samples,
    num_labels: int,
    seed: int,
    sources: Mapping[str, LabelRow],
) -> tuple[SkillOnBackbone, Learnt]:
    panel = learn_panel(backbone, samples, rows_of(backbone, samples), num_labels, seed=seed)
    weights = panel.weights()
    config, classes = backbone.model.config, classes_of(samples)
    skill = served(panel, weights, samples.spec, config.num_neighbours)
    held_out = panel.cross_validated()
    learnt = Learnt(
        choose_temperature(held_out),
        {"method": "auto" if set(panel.fitted) != {OWN} else "head", "seed": seed},
        judge(held_out, panel.alone(OWN), classes),
        notes=_left_out(panel, len(samples)),
        panel=panel,
        held_out=held_out,
    )
    if EXAMPLES in panel.fitted:
        for name, label in zip(samples.names, classes.tolist(), strict=True):
            row = sources[name]
            place = {"video": row.video, "start_s": row.start_s, "end_s": row.end_s}
            learnt.examples.append({**place, "label": label})
    return SkillOnBackbone(skill, backbone, tuned={}), learnt


def _left_out(panel: Panel, num_labels: int) -> tuple[str, ...]:
    """What kept voters from being tried."""
    if set(panel.fitted) == {OWN}:
        return ()
    notes = []
    if not any(VOTERS[name].needs_spread for name in panel.fitted):
        left = ", ".join(name for name, voter in VOTERS.items() if voter.needs_spread)
        notes.append(
            f"Left out: {left}. The bundle's backpack does not say how actions spread around their "
            "prototypes; bundles trained from this release on do."
        )
    if EXAMPLES not in panel.fitted:
        notes.append(
            f"Left out: {EXAMPLES}. {num_labels} labels are more than the {MOST_EXAMPLES} that a "
            "skill keeps."
        )
    return tuple(notes)


def _by_gradients(
    backbone: Backbone,
    samples: Mapping[str, Samples],
    num_labels: int,
    job: FitJob,
    has_backpack: bool,
) -> tuple[SkillOnBackbone, Learnt]:
    spec, train = samples["train"].spec, samples["train"]
    output = spec.outputs[0]
    perspectives = None if has_backpack else ()
    learner = train_skill(
        backbone, spec, train, {output: num_labels}, job, perspectives=perspectives
    )
    learner.eval()
    logits, truth = collect_logits(
        {spec.name: learner}, {spec.name: samples["val"]}, backbone.model.config
    )
    fitted = calibrate(logits, truth)[f"{spec.name}.{output}"]
    temperature = Temperature(fitted.temperature, (fitted.ece_before, fitted.ece_after))
    method = "egopack" if has_backpack else "fine-tuning"
    return learner, Learnt(temperature, {"method": method, **asdict(job.config), "seed": job.seed})


def choose_backbone(predictor: Predictor, *, has_backpack: bool) -> tuple[str, Backbone]:
    """Returns the backbone with most known tasks, among those with a backpack if one is needed.

    Raises:
        BackpackInvalid: one is needed, and there is none.
    """
    skills = predictor.skills
    usable = [n for n in skills.models if not has_backpack or skills.backpacks[n] is not None]
    if not usable:
        raise BackpackInvalid(
            f"the bundle {predictor.name} has no backpack to learn with; --no-backpack learns "
            "without one"
        )
    name = max(usable, key=lambda n: len(skills.models[n].specs))
    return name, Backbone(skills.models[name], skills.backpacks[name])
