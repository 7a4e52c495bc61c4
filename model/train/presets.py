"""Presets: the hyper-parameters of tabletop, of a smoke test, and of Ego4D (paper and authors)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from extract.contract import TABLETOP as TABLETOP_CONTRACT
from extract.contract import FeatureContract
from extract.encoders.swin.trunk import TABLETOP_SWIN, SwinConfig
from model.config import FORECASTING, FitConfig, ForecasterConfig, Learning, ModelConfig
from model.tasks import AR, LTA, OSCC, TASKS, TaskSpec
from model.train.encoder.pretrain import PretrainConfig
from tabletop.files.footage import FootageConfig
from tabletop.story.script import SMOKE as SMOKE_WORLD
from tabletop.story.script import WorldConfig

FOOTAGE_SEED = 1_000_000
"""Added to the world's seed, so that the encoder's footage is independent of all splits."""


@dataclass(frozen=True)
class Preset:
    """All settings of a run from a seed to a bundle.

    Attributes:
        name: of the bundle.
        world: the generated data.
        swin: the encoder's architecture.
        contract: the encoder's input.
        scenes: number of scenes that the encoder is pretrained on.
        pretrain: hyper-parameters of the encoder.
        learning: hyper-parameters of everything after the features.
    """

    name: str
    world: WorldConfig
    swin: SwinConfig
    contract: FeatureContract
    scenes: int
    pretrain: PretrainConfig
    learning: Learning

    @property
    def footage(self) -> FootageConfig:
        """Scenes of five actions, none of them of the world's seed."""
        world = WorldConfig(
            seed=self.world.seed + FOOTAGE_SEED,
            train_videos=self.scenes,
            actions_per_video=(5, 5),
            width=self.contract.crop_width,
            height=self.contract.crop_height,
            fps=self.contract.fps,
        )
        return FootageConfig(
            world,
            frame_step=self.contract.frame_step,
            map_every=self.swin.patch[0],
            map_size=self.pretrain.views.map_size,
        )


def on_own_backbones(config: FitConfig) -> dict[str, FitConfig]:
    """Returns the optimisation per skill: all but LTA fine-tune the backbone (supplement A.1.1)."""
    return {task: replace(config, tune_backbone=task != LTA.name) for task in TASKS}


_SKILL = FitConfig(
    epochs=30,
    learning_rate=5e-4,
    batch_size=32,
    warmup_epochs=2,
    context_dropout=0.3,
    weight_decay=1e-2,
    decoupled_decay=True,
)

TABLETOP = Preset(
    name="tabletop",
    world=WorldConfig(),
    swin=TABLETOP_SWIN,
    contract=TABLETOP_CONTRACT,
    scenes=480,
    pretrain=PretrainConfig(
        images=FitConfig(
            epochs=3,
            learning_rate=1.5e-3,
            batch_size=64,
            warmup_epochs=0.2,
            weight_decay=0.05,
            decoupled_decay=True,
        ),
        clips=FitConfig(
            epochs=7,
            learning_rate=8e-4,
            batch_size=16,
            warmup_epochs=1,
            weight_decay=0.05,
            decoupled_decay=True,
            label_smoothing=0.1,
        ),
    ),
    learning=Learning(
        model=ModelConfig(
            input_size=TABLETOP_SWIN.dim,
            hidden_size=128,
            pooling_dropout=0.3,
            head_dropout=0.3,
            interaction_layers=2,
            interaction="authors",
            subsegments="random",
            greedy_first=True,
            future_choice="set",
        ),
        multitask=replace(_SKILL, learning_rate=1e-3),
        skills=on_own_backbones(_SKILL),
        translation=dict.fromkeys(TASKS, _SKILL),
        forecaster=ForecasterConfig(hidden_size=64),
        forecasting=replace(FORECASTING, epochs=150),
    ),
)

_BRIEF = FitConfig(epochs=2, learning_rate=1e-3, batch_size=8, warmup_epochs=0.5)

SMOKE = replace(
    TABLETOP,
    name="smoke",
    world=SMOKE_WORLD,
    scenes=4,
    pretrain=replace(
        TABLETOP.pretrain, images=replace(_BRIEF, epochs=1, batch_size=32), clips=_BRIEF
    ),
    learning=replace(
        TABLETOP.learning,
        multitask=_BRIEF,
        skills=on_own_backbones(_BRIEF),
        translation=dict.fromkeys(TASKS, _BRIEF),
        forecasting=_BRIEF,
    ),
)
"""Smoke test: every stage on a tiny world, too short to learn."""


def brief(learning: Learning) -> Learning:
    """Returns the same with two epochs of each training, as a smoke test."""
    return learning.refit(lambda fit: replace(fit, epochs=2, warmup_epochs=0.5))


_STAGE_1 = FitConfig(epochs=40, learning_rate=1e-5)  # epochs and rate: authors' code

_TRANSLATION = FitConfig(epochs=30, learning_rate=1e-4)

PAPER = Learning(
    model=ModelConfig(),
    multitask=_STAGE_1,
    skills={
        "ar": FitConfig(epochs=30, learning_rate=1e-4, tune_backbone=True),
        "lta": FitConfig(epochs=40, learning_rate=1e-4),
        "oscc": FitConfig(epochs=10, learning_rate=1e-6, tune_backbone=True),
        "pnr": FitConfig(epochs=10, learning_rate=1e-6, tune_backbone=True),
    },
    translation=dict.fromkeys(TASKS, _TRANSLATION)
    | {OSCC.name: replace(_TRANSLATION, learning_rate=1e-6)},
)
"""Ego4D as the paper describes it (Sec. 4.1, supplements A.1 and B). Its learning rates are lost
from the text: these are the authors' code's; translations take those of AR's and OSCC's skills."""


def _as_authors(config: FitConfig, *, smoothing: float = 0.0) -> FitConfig:
    return replace(
        config,
        warmup_epochs=0.0,
        schedule="epoch",
        task_losses="sum",
        node_loss="all",
        keyframe_crop="ego4d",
        precision="full",
        label_smoothing=smoothing,
    )


AUTHORS = Learning(
    model=ModelConfig(
        norm="batch",
        final_linear=True,
        interaction="authors",
        rematch=False,
        prototypes="divided",
        graph_fusion="mean",
        future_edges="last",
        subsegments="random",
        windows="overlapping",
        instants="start",
        keyframe_rate="30",
    ),
    multitask=_as_authors(_STAGE_1),
    skills={
        task: _as_authors(config, smoothing=0.1 if task == "oscc" else 0.0)
        for task, config in PAPER.skills.items()
    },
    translation={task: _as_authors(config) for task, config in PAPER.translation.items()},
)
"""Ego4D as the authors' published code has it, in every point where that differs."""

SMALL = replace(TABLETOP.learning, forecaster=None)
"""What tabletop is trained with, for data sets of some thousand segments."""


EGO4D = {"paper": PAPER, "authors": AUTHORS}
"""Named settings for data in Ego4D's layout."""


LEAST_STEPS = 1250
"""Of a training: tabletop's, whose 30 epochs are of 1 353 segments."""


def stretched(learning: Learning, rows: int) -> Learning:
    """Returns the same with more epochs where so few rows would end after too few steps."""

    def stretch(fit: FitConfig) -> FitConfig:
        steps = -(-rows // fit.batch_size)
        return replace(fit, epochs=max(fit.epochs, -(-LEAST_STEPS // steps)))

    return learning.refit(stretch)


def for_tasks(learning: Learning, specs: Mapping[str, TaskSpec]) -> Learning:
    """Returns the settings for other tasks: those of LTA for forecasts, of AR for the others."""
    like = {
        task: LTA.name if spec.readout is LTA.readout else AR.name for task, spec in specs.items()
    }
    return replace(
        learning,
        skills={task: learning.skills[known] for task, known in like.items()},
        translation={task: learning.translation[known] for task, known in like.items()},
    )
