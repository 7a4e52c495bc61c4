"""Effect check of settings: `--set` of a field that no planned training uses is an error."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from model.config import FitConfig, Learning, ModelConfig
from model.errors import SettingInvalid
from model.tasks import TASKS, Readout, Sampling, TaskSpec
from model.train.methods.trainer import (
    MOVES_BACKBONE,
    MOVES_HEADS,
    MULTITASK,
    SKILLS,
    TRANSLATIONS,
    Training,
    fit_of,
    model_of,
)
from model.train.methods.translation import NUM_HEADS
from model.train.options import FIT


@dataclass(frozen=True)
class ConfiguredTraining:
    """One training and its settings; `specs` are the tasks it is trained on, or the novel one."""

    kind: str
    specs: tuple[TaskSpec, ...]
    model: ModelConfig
    fit: FitConfig

    @property
    def has_graph(self) -> bool:
        """Whether temporal layers are trained."""
        return self.kind in MULTITASK and self.model.num_layers > 0

    @property
    def has_backpack(self) -> bool:
        """Whether other tasks' perspectives and prototypes vote."""
        return self.kind.startswith("egopack")

    @property
    def interacts(self) -> bool:
        """Whether prototypes refine the perspectives."""
        return self.has_backpack and self.model.interaction_layers > 0

    def reads(self, *readouts: Readout) -> bool:
        """Returns whether a task has one of these readouts."""
        return any(spec.readout in readouts for spec in self.specs)

    def samples(self, sampling: Sampling) -> bool:
        """Returns whether a task has this sampling."""
        return any(spec.sampling is sampling for spec in self.specs)


@dataclass(frozen=True)
class Rule:
    """Condition under which a setting has an effect; `needs` states it for error messages."""

    matters: Callable[[ConfiguredTraining], bool]
    needs: str


_ALWAYS = Rule(lambda t: True, "nothing")
_GRAPH = Rule(lambda t: t.has_graph, "a temporal graph: num_layers above 0, and not the MLP alone")
_BACKPACK = Rule(lambda t: t.has_backpack, "a backpack: --method egopack or egopack-shared")
_FUTURE = Rule(lambda t: t.reads(Readout.FUTURE), "LTA among the tasks")
_NODES = Rule(lambda t: t.reads(Readout.NODES), "PNR among the tasks")

RULES: dict[str, Rule] = {
    "input_size": Rule(lambda t: False, "features of that width: it is read off the features"),
    **dict.fromkeys(
        ("window_frames", "stride_frames"),
        Rule(lambda t: False, "features of such windows: they are read off the features"),
    ),
    "hidden_size": _ALWAYS,
    "vectors_per_node": _ALWAYS,
    "num_layers": Rule(lambda t: t.kind in MULTITASK and t.kind != "mlp", "more than the MLP"),
    "norm": _GRAPH,
    "final_linear": _GRAPH,
    "pooling_dropout": _ALWAYS,
    "head_dropout": _ALWAYS,
    "skill_dropout": Rule(lambda t: t.kind in SKILLS, f"a skill: one of {', '.join(SKILLS)}"),
    "num_neighbours": _BACKPACK,
    "interaction_layers": _BACKPACK,
    "interaction": Rule(lambda t: t.interacts, "a backpack and interaction_layers above 0"),
    "interaction_skip": Rule(
        lambda t: t.interacts and t.model.interaction == "authors",
        "a backpack and interaction=authors",
    ),
    "distance": _BACKPACK,
    "rematch": Rule(
        lambda t: t.has_backpack and t.model.interaction_layers > 1,
        "a backpack and interaction_layers above 1",
    ),
    "prototypes": Rule(lambda t: t.interacts, "a backpack and interaction_layers above 0"),
    "fusion": _BACKPACK,
    "graph_fusion": Rule(
        lambda t: t.has_backpack and t.reads(Readout.GRAPH) and t.model.fusion != "features",
        "a backpack, OSCC among the tasks, and fusion other than features",
    ),
    "future_edges": Rule(
        lambda t: t.reads(Readout.FUTURE) and t.model.num_layers > 0, "LTA and a temporal graph"
    ),
    "subsegments": Rule(lambda t: t.samples(Sampling.UNIFORM), "OSCC among the tasks"),
    "windows": _ALWAYS,
    "instants": Rule(lambda t: t.samples(Sampling.INSTANTS), "PNR among the tasks"),
    "greedy_first": _FUTURE,
    "future_temperature": _FUTURE,
    "future_choice": _FUTURE,
    "future_samples": Rule(
        lambda t: t.reads(Readout.FUTURE) and t.model.future_choice == "set",
        "LTA among the tasks and future_choice=set",
    ),
    "keyframe_rate": _NODES,
    **{
        f"{FIT}{name}": _ALWAYS
        for name in ("epochs", "learning_rate", "batch_size", "weight_decay", "warmup_epochs",
                     "feature_dropout", "schedule", "precision")
    },
    f"{FIT}context_dropout": Rule(
        lambda t: any(spec.num_segments > 1 for spec in t.specs), "AR or LTA among the tasks"
    ),
    f"{FIT}label_smoothing": Rule(
        lambda t: t.reads(Readout.CENTRE, Readout.FUTURE, Readout.GRAPH), "a task besides PNR"
    ),
    f"{FIT}decoupled_decay": Rule(lambda t: t.fit.weight_decay > 0, "fit.weight_decay above 0"),
    f"{FIT}task_losses": Rule(
        lambda t: t.kind in MULTITASK and len(t.specs) > 1, "several tasks trained together"
    ),
    f"{FIT}node_loss": Rule(
        lambda t: t.reads(Readout.CENTRE, Readout.FUTURE), "AR or LTA among the tasks"
    ),
    f"{FIT}keyframe_crop": _NODES,
    f"{FIT}tune_backbone": Rule(
        lambda t: t.kind in MOVES_BACKBONE,
        "skills with backbones of their own: --protocol paper, or --method mtl-ft",
    ),
    f"{FIT}tune_heads": Rule(
        lambda t: t.kind in MOVES_HEADS,
        "skills with backbones of their own that hear the others: --protocol paper",
    ),
}  # fmt: skip
"""Every field of the configs, those of `FitConfig` behind `FIT`, and when it matters."""


def check_settings(
    settings: Sequence[str],
    learning: Learning,
    parts: Sequence[Training],
    specs: Mapping[str, TaskSpec] = TASKS,
) -> None:
    """Raises, before any work, where a setting has no effect on any planned training.

    Args:
        settings: "field=value", as given to `override`.
        learning: with the settings.
        parts: all planned trainings; see `model.train.pipeline.plan`.
        specs: of their tasks.

    Raises:
        SettingInvalid: a setting has no effect, or a model cannot be built with them.
    """
    trainings = [
        ConfiguredTraining(
            part.kind,
            tuple(specs[task] for task in part.tasks),
            model_of(part, learning),
            fit_of(part, learning),
        )
        for part in parts
        if part.kind != "backpack"
    ]
    for setting in settings:
        name = setting.partition("=")[0]
        rule = RULES[name]
        if not any(rule.matters(training) for training in trainings):
            raise SettingInvalid(f"--set {setting}: has no effect here; it needs {rule.needs}")
    width = learning.model.hidden_size
    if width % NUM_HEADS and any(training.kind in TRANSLATIONS for training in trainings):
        raise SettingInvalid(
            f"hidden_size: Task Translation needs a multiple of {NUM_HEADS}, got {width}"
        )
