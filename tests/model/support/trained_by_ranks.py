"""Trains small models of every kind and keeps what came of them: alone, or as one of torchrun's."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from model.config import FitConfig, Learning, ModelConfig
from model.data.samples import Samples
from model.distributed import World, joined
from model.tasks import IGNORE, TASKS
from model.train.encoder.pretrain import Pretraining, pretrain_on_clips, pretrain_on_images
from model.train.ledger import Ledger
from model.train.methods import translation
from model.train.methods.trainer import Trainer, Training
from model.train.pipeline import TrainingPipeline
from model.train.presets import on_own_backbones
from tests.model.support.samples import make_samples
from tests.model.train.encoder.test_pretrain import CONFIG, CONTRACT, SWIN, make_world
from tests.support.factories import NUM_LABELS, TINY

STILL = replace(TINY, pooling_dropout=0.0, skill_dropout=0.0)
"""Without dropout, whose coins every rank tosses for itself."""

AUTHORS = replace(STILL, norm="batch", final_linear=True, windows="overlapping")
FIT = FitConfig(epochs=3, learning_rate=3e-3, batch_size=5, warmup_epochs=1, context_dropout=0.3)
AUTHORS_FIT = replace(FIT, task_losses="sum", node_loss="all", label_smoothing=0.1)
SHORT = FitConfig(epochs=2, learning_rate=1e-3, batch_size=24)
NOISY_FIT = replace(FIT, epochs=12, learning_rate=1e-2)

PARTS = {
    "mtl": Training("mtl", tuple(TASKS)),
    "mtl-pcgrad": Training("mtl-pcgrad", tuple(TASKS)),
    "mtl-tt": Training("mtl-tt", ("lta",)),
    "egopack": Training("egopack", ("ar",)),  # with the backbone, on a backpack
}

Found = dict[str, dict[str, torch.Tensor]]
"""Training -> tensors: its weights, and every epoch's mean loss as "curve"."""


def uneven_samples() -> dict[str, Samples]:
    """6, 7, 8 and 12 samples, in batches of 5: a last batch of one, too few for two ranks."""
    split = {
        task: make_samples(spec, num, seed=i)
        for i, ((task, spec), num) in enumerate(zip(TASKS.items(), (12, 6, 8, 7), strict=True))
    }
    for values in split["lta"].labels.values():  # most labels are missing, and unevenly
        coins = torch.rand(values.shape, generator=torch.Generator().manual_seed(3))
        values[coins < torch.linspace(0.2, 0.7, len(values)).unsqueeze(1)] = IGNORE
    split["ar"].labels["noun"][:1] = IGNORE
    return split


@contextmanager
def curve() -> Iterator[list[float]]:
    """Notes the mean loss of every epoch that ends inside."""
    losses: list[float] = []
    logger, handler = logging.getLogger("model.train.fit"), logging.Handler()
    handler.emit = lambda record: losses.append(record.args[-1])  # type: ignore[method-assign]
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
    yield losses
    logger.removeHandler(handler)
    logger.setLevel(level)


def train_parts(world: World, folder: Path, config: ModelConfig, fit: FitConfig) -> Found:
    """One training of each kind."""
    learning = Learning(config, fit, on_own_backbones(fit), dict.fromkeys(TASKS, fit))
    trainer = Trainer(uneven_samples(), NUM_LABELS, learning, 0, progress=False, world=world)
    bench = TrainingPipeline(trainer, Ledger(folder, {}, world), "samples")
    found = {}
    for name, part in PARTS.items():
        for need in trainer.needs(part):
            bench.tensors(need)
        with curve() as losses:
            tensors = bench.tensors(part)
        found[name] = {**tensors, "curve": torch.tensor(losses)}
    return found


def pretrain(world: World) -> Found:
    """The encoder, from images and from clips."""
    torch.manual_seed(0)
    model = Pretraining(SWIN, {"verb": 2, "noun": 2})
    config = replace(CONFIG, images=SHORT, clips=replace(SHORT, batch_size=7), clip_shard=2)
    with curve() as losses:
        for train in (pretrain_on_images, pretrain_on_clips):
            train(model, make_world(), CONTRACT, config=config, seed=0, world=world)
    return {"encoder": {**model.state_dict(), "curve": torch.tensor(losses)}}


def train_with_dropout(world: World, seed: int) -> list[float]:
    """Returns the loss curve of a multi-task model whose dropout is high."""
    config = replace(TINY, pooling_dropout=0.3, head_dropout=0.3)
    learning = Learning(config, NOISY_FIT, {}, {})
    trainer = Trainer(uneven_samples(), NUM_LABELS, learning, seed, progress=False, world=world)
    with curve() as losses:
        trainer.train(PARTS["mtl"], {})
    return losses


def train_all(world: World, folder: Path) -> Found:
    """Everything whose result does not hang on the number of ranks."""
    translation.DROPOUT = 0.0
    paper = train_parts(world, folder / "paper", STILL, FIT)
    authors = train_parts(world, folder / "authors", AUTHORS, AUTHORS_FIT)
    return {**paper, **{f"{name}, batch norm": t for name, t in authors.items()}, **pretrain(world)}


def main(folder: Path) -> None:
    """Leaves what this rank found in a file of its own."""
    torch.set_num_threads(1)
    with joined("cpu") as (world, _):
        found = train_all(world, folder / "work")
        noisy = train_with_dropout(world, 0)
    torch.save({"found": found, "noisy": noisy}, folder / f"rank-{world.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
