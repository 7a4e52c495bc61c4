"""The tabletop data set from nothing: world -> encoder -> features, each stage made once."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from extract.loading import encoder_spec
from extract.store import FeatureStore
from extract.swin import SwinEncoder, load_swin
from model.data.annotations import DataRoot, Split
from model.data.samples import Samples, Tracks
from model.data.tabletop.footage import Footage
from model.data.tabletop.script import WORLD_VERSION
from model.data.tabletop.write import write_world
from model.data.tracks import read_tracks, videos_of
from model.ledger import Ledger, stage_key
from model.prepared import Prepared
from model.presets import Preset
from model.pretrain.training import Pretraining, pretrain_on_clips, pretrain_on_images
from model.scoring import split_samples
from model.tasks import FIXED_LABELS

TYPICAL_S = {
    "world": 350.0,
    "footage": 140.0,
    "images": 1000.0,
    "encoder": 700.0,
    "features": 350.0,
}
"""Seconds per stage of a full run on two cores: what the estimate of the rest starts from."""

DATA = "tabletop, a generated world (not Ego4D)"


class Tabletop:
    """One preset's world, the encoder trained for it, and its features."""

    def __init__(
        self, preset: Preset, folder: Path, ledger: Ledger, *, seed: int, workers: int
    ) -> None:
        self.preset, self.folder, self.seed, self.workers = preset, folder, seed, workers
        self.ledger = ledger
        self.data = DataRoot(folder / "world")

    def prepare(self) -> Prepared:
        """Runs what has not been run; returns samples of every split, test truth included."""
        world = self._world()
        labels = self.data.taxonomy()
        num_labels = {n: len(names) for n, names in (labels | FIXED_LABELS).items()}
        encoder, key = self._encoder(num_labels)
        samples, key = self._samples(encoder, stage_key(world, key))
        return Prepared(
            samples=samples,
            labels=labels,
            encoder=encoder_spec(encoder),
            encoder_tensors=encoder.state_dict(),
            key=key,
            data=DATA,
            facts={
                "licence": "Apache-2.0",
                "world": asdict(self.preset.world),
                "scenes": self.preset.scenes,
                "pretrain": asdict(self.preset.pretrain),
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
