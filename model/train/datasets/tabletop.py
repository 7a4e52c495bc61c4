"""Tabletop data set from a seed: world -> encoder -> features, each a cached stage."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from extract.encoders.encoder import VideoEncoder
from extract.encoders.load import encoder_from_spec, encoder_spec
from extract.encoders.torch_encoder import TorchEncoder, load_encoder
from extract.features.store import FeatureStore
from model.data.annotations import DataRoot, Split
from model.data.records import SplitRecords
from model.data.samples import Samples, Tracks
from model.data.task_samples import split_samples
from model.data.tracks import read_tracks
from model.distributed import ALONE, World
from model.tasks import FIXED_LABELS
from model.train.datasets.prepared import Prepared, progress_bar
from model.train.encoder.pretrain import Pretraining, pretrain_on_clips, pretrain_on_images
from model.train.ledger import Ledger, stage_key
from model.train.presets import Preset
from tabletop.files.footage import Footage
from tabletop.files.world import WORLD_FILE, write_world
from tabletop.story.script import WORLD_VERSION
from weights.bundle import load_bundle
from weights.storage.folders import Place

TYPICAL_S = {
    "world": 350.0,
    "footage": 140.0,
    "images": 1000.0,
    "encoder": 700.0,
    "features": 350.0,
}
"""Seconds per stage of a full run on two cores, from which the time left is estimated."""

DATA = "tabletop, a generated world (not Ego4D)"

SPLITS: tuple[Split, ...] = ("train", "val", "test")


class Tabletop:
    """The world of a preset, the encoder trained for it, and its features."""

    def __init__(
        self, preset: Preset, folder: Path, ledger: Ledger, *, seed: int, workers: int
    ) -> None:
        self.preset, self.folder, self.seed, self.workers = preset, folder, seed, workers
        self.ledger = ledger
        self.data = DataRoot(folder / "world")

    def prepare(self) -> Prepared:
        """Runs the stages that are not cached; returns samples of every split, test included."""
        world = self._world()
        labels = self.data.taxonomy
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
            with progress_bar("world") as progress:
                write_world(
                    self.data.root, self.preset.world, workers=self.workers, progress=progress
                )

        self.ledger.files("world", key, make)
        return key

    def _encoder(self, num_labels: dict[str, int]) -> tuple[TorchEncoder, str]:
        preset = self.preset
        footage, key = self._footage()
        torch.manual_seed(self.seed)
        labels = {name: num_labels[name] for name in ("verb", "noun")}
        model = Pretraining(preset.swin, labels)

        def trained(
            stage: str, key: str, train: Callable[..., None], kept: nn.Module
        ) -> dict[str, Tensor]:
            def make() -> dict[str, Tensor]:
                checkpoint = self.ledger.checkpoint(stage, key)
                how = {"config": preset.pretrain, "seed": self.seed, "checkpoint": checkpoint}
                train(model, footage, preset.contract, **how, world=self.ledger.world)
                return dict(kept.state_dict())

            return self.ledger.tensors(stage, key, make)

        shared = replace(preset.pretrain, clips=preset.pretrain.images)
        key = stage_key(key, preset.contract, preset.swin, shared, self.seed)
        model.load_state_dict(trained("images", key, pretrain_on_images, model))
        key = stage_key(key, preset.pretrain)
        tensors = trained("encoder", key, pretrain_on_clips, model.trunk)
        return load_encoder(preset.name, preset.swin, preset.contract, tensors), key

    def _footage(self) -> tuple[Footage, str]:
        config = self.preset.footage
        footage = Footage(self.folder / "footage", config)

        def draw() -> None:
            with progress_bar("footage", unit="scene") as progress:
                footage.write(workers=self.workers, progress=progress)

        key = stage_key(WORLD_VERSION, config)
        self.ledger.files("footage", key, draw)
        return footage, key

    def _samples(
        self, encoder: TorchEncoder, upstream: str
    ) -> tuple[dict[str, dict[str, Samples]], str]:
        key = stage_key(upstream, encoder.fingerprint)
        store = FeatureStore(self.folder / "features")

        records = {split: self.data.read(split) for split in SPLITS}

        def make() -> None:
            fill_store(self.data, records, store, encoder, self.ledger.world)

        self.ledger.files("features", key, make, shared=True)
        return world_samples(self.data, records, store, encoder), key


def fill_store(
    data: DataRoot,
    records: Mapping[Split, SplitRecords],
    store: FeatureStore,
    encoder: VideoEncoder,
    world: World = ALONE,
) -> None:
    """Extracts the features of annotated videos that a store lacks, each rank its part."""
    videos = sorted(set().union(*(found.videos for found in records.values())))
    with progress_bar("features", shown=world.is_first) as progress:
        read_tracks(data, videos[world.part(len(videos))], store, encoder, progress=progress)


def world_samples(
    data: DataRoot,
    records: Mapping[Split, SplitRecords],
    store: FeatureStore,
    encoder: VideoEncoder,
) -> dict[str, dict[str, Samples]]:
    """Returns split -> task -> samples of a world, the test split included."""
    return {
        split: split_samples(found, Tracks.join(read_tracks(data, found.videos, store, encoder)))
        for split, found in records.items()
    }


def prepare_world(root: Path, bundle: Place, features: Place) -> Prepared:
    """Returns an existing world, with features by a finished bundle's encoder.

    Args:
        root: the world's folder.
        bundle: folder or URL of the bundle that has the encoder.
        features: folder or URL of features; missing ones are extracted.

    Raises:
        WeightsError: the bundle cannot be used.
        AnnotationInvalid: the folder holds no world.
    """
    data, store = DataRoot(root), FeatureStore(features)
    loaded = load_bundle(bundle)
    encoder = encoder_from_spec(loaded.manifest.encoder, loaded.encoder)
    records = {split: data.read(split) for split in SPLITS}
    fill_store(data, records, store, encoder)
    config = json.loads((root / WORLD_FILE).read_text())
    return Prepared(
        samples=world_samples(data, records, store, encoder),
        labels=data.taxonomy,
        encoder=loaded.manifest.encoder,
        encoder_tensors=loaded.encoder,
        key=stage_key(config, encoder.fingerprint),
        data=DATA,
        facts={"licence": "Apache-2.0"},
    )
