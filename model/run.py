"""One run from nothing to a bundle: stages that build on each other, each made once."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from extract.store import FeatureStore
from extract.swin import SwinEncoder, load_swin
from model.assemble import BACKBONE, assemble
from model.backpack import Backpack
from model.data.annotations import DataRoot, Split
from model.data.samples import Samples, Tracks
from model.data.tabletop.footage import Footage
from model.data.tabletop.script import WORLD_VERSION
from model.data.tabletop.write import write_world
from model.data.tracks import read_tracks, videos_of
from model.egopack import Skill
from model.ledger import Ledger, stage_key
from model.multitask import MultiTaskModel
from model.presets import Preset
from model.pretrain.training import Pretraining, pretrain_on_clips, pretrain_on_images
from model.scoring import split_samples
from model.skills import Backbone
from model.stages import fill_backpack, train_multitask, train_skill
from model.tasks import FIXED_LABELS, TASKS
from weights.bundle import Bundle

TYPICAL_S = {
    "world": 750.0,
    "footage": 220.0,
    "images": 950.0,
    "encoder": 950.0,
    "features": 350.0,
    "multitask": 200.0,
    "backpack": 5.0,
    "skill-ar": 60.0,
    "skill-lta": 60.0,
    "skill-oscc": 60.0,
    "skill-pnr": 60.0,
}
"""Seconds per stage of a full run on two cores: what the estimate of the rest starts from."""


class Run:
    """One run of a preset: stages that build on each other, each made once."""

    def __init__(self, preset: Preset, folder: Path, *, seed: int, workers: int) -> None:
        self.preset, self.folder, self.seed, self.workers = preset, folder, seed, workers
        self.ledger = Ledger(folder, TYPICAL_S)
        self.data = DataRoot(folder / "world")

    def bundle(self) -> Bundle:
        """Runs what has not been run and puts the bundle together."""
        world = self._world()
        labels = self.data.taxonomy()
        num_labels = {n: len(names) for n, names in (labels | FIXED_LABELS).items()}
        encoder, key = self._encoder(num_labels)
        samples, key = self._samples(encoder, stage_key(world, key))
        model, key = self._multitask(samples["train"], num_labels, key)
        backpack = self._backpack(model, samples["train"], key)
        skills = {
            task: self._skill(task, model, backpack, samples["train"], num_labels, key)
            for task in TASKS
        }
        return assemble(
            self.preset,
            encoder,
            Backbone(model, backpack),
            skills,
            samples,
            labels,
            made={
                "seed": self.seed,
                "seconds": {stage: round(s, 1) for stage, s in self.ledger.seconds.items()},
                "threads": self.workers,
            },
        )

    def _world(self) -> str:
        key = stage_key(self.preset.world)

        def make() -> None:
            with _Bar("world") as progress:
                write_world(
                    self.data.root, self.preset.world, workers=self.workers, progress=progress
                )

        self.ledger.files("world", key, make)
        return key

    def _encoder(self, num_labels: dict[str, int]) -> tuple[SwinEncoder, str]:
        preset = self.preset
        footage, key = self._footage()
        torch.manual_seed(self.seed)
        labels = {name: num_labels[name] for name in ("verb", "noun")}
        model = Pretraining(preset.swin, labels)

        def images() -> dict[str, Tensor]:
            pretrain_on_images(
                model,
                footage,
                preset.contract,
                config=preset.pretrain,
                seed=self.seed,
                checkpoint=self.ledger.checkpoint("images", key),
            )
            return model.state_dict()

        def clips() -> dict[str, Tensor]:
            pretrain_on_clips(
                model,
                footage,
                preset.contract,
                config=preset.pretrain,
                seed=self.seed,
                checkpoint=self.ledger.checkpoint("encoder", key),
            )
            return dict(model.trunk.state_dict())

        shared = replace(preset.pretrain, clips=preset.pretrain.images)
        key = stage_key(key, preset.contract, preset.swin, shared, self.seed)
        model.load_state_dict(self.ledger.tensors("images", key, images))
        key = stage_key(key, preset.pretrain)
        tensors = self.ledger.tensors("encoder", key, clips)
        return load_swin(preset.name, preset.swin, preset.contract, tensors), key

    def _footage(self) -> tuple[Footage, str]:
        config = self.preset.footage
        footage = Footage(self.folder / "footage", config)

        def draw() -> None:
            with _Bar("footage", unit="scene") as progress:
                footage.write(workers=self.workers, progress=progress)

        key = stage_key(WORLD_VERSION, config)
        self.ledger.files("footage", key, draw)
        return footage, key

    def _samples(
        self, encoder: SwinEncoder, upstream: str
    ) -> tuple[dict[str, dict[str, Samples]], str]:
        key = stage_key(upstream, encoder.fingerprint)
        store = FeatureStore(self.folder / "features")
        splits: tuple[Split, ...] = ("train", "val", "test")
        videos = {split: videos_of(self.data, split) for split in splits}

        def make() -> None:
            everything = sorted(set().union(*videos.values()))
            with _Bar("features") as progress:
                read_tracks(self.data, everything, store, encoder, progress=progress)

        self.ledger.files("features", key, make)
        samples: dict[str, dict[str, Samples]] = {}
        for split, names in videos.items():
            tracks = Tracks.join(read_tracks(self.data, names, store, encoder))
            samples[split] = split_samples(self.data, split, tracks)
        return samples, key

    def _multitask(
        self, train: dict[str, Samples], num_labels: dict[str, int], upstream: str
    ) -> tuple[MultiTaskModel, str]:
        preset = self.preset
        key = stage_key(upstream, preset.model, preset.multitask, self.seed)

        def make() -> dict[str, Tensor]:
            return train_multitask(
                preset.model,
                train,
                num_labels,
                fit_config=preset.multitask,
                seed=self.seed,
                checkpoint=self.ledger.checkpoint("multitask", key),
            ).state_dict()

        tensors = self.ledger.tensors("multitask", key, make)
        model = MultiTaskModel(preset.model, list(TASKS.values()), num_labels)
        model.load_state_dict(tensors)
        return model.eval().requires_grad_(False), key

    def _backpack(
        self, model: MultiTaskModel, train: dict[str, Samples], upstream: str
    ) -> Backpack:
        def make() -> dict[str, Tensor]:
            return fill_backpack(model, train["ar"]).to_tensors(BACKBONE)

        tensors = self.ledger.tensors("backpack", stage_key(upstream), make)
        return Backpack.from_tensors(tensors, BACKBONE)

    def _skill(
        self,
        task: str,
        model: MultiTaskModel,
        backpack: Backpack,
        train: dict[str, Samples],
        num_labels: dict[str, int],
        upstream: str,
    ) -> Skill:
        config, spec, stage = self.preset.skills[task], TASKS[task], f"skill-{task}"
        key = stage_key(upstream, config, self.seed)

        def make() -> dict[str, Tensor]:
            return train_skill(
                model,
                backpack,
                spec,
                train[task],
                num_labels,
                fit_config=config,
                seed=self.seed,
                checkpoint=self.ledger.checkpoint(stage, key),
            ).state_dict()

        tensors = self.ledger.tensors(stage, key, make)
        known = [name for name in model.specs if name != task]
        skill = Skill(self.preset.model, spec, known, num_labels)
        skill.load_state_dict(tensors)
        return skill.eval().requires_grad_(False)


class _Bar:
    """A progress bar fed with (done, total)."""

    def __init__(self, label: str, unit: str = "video") -> None:
        self._label, self._unit = label, unit

    def __enter__(self) -> Callable[[int, int], None]:
        self._bar = tqdm(desc=self._label, unit=self._unit)
        return self._advance

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def _advance(self, done: int, total: int) -> None:
        self._bar.total = total
        self._bar.update(done - self._bar.n)
