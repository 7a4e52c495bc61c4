"""A data set in Ego4D's layout, with released features -> what training starts from."""

from pathlib import Path
from typing import Literal

from extract.store import FeatureStore
from model.data.annotations import DataRoot, Split
from model.data.samples import Samples, Tracks
from model.data.tracks import videos_of
from model.ledger import stage_key
from model.prepared import Prepared
from model.scoring import split_samples


def prepare_ego4d(
    root: Path,
    features: str,
    *,
    version: str | None,
    enumeration: Literal["current", "before-2023-08"],
    packed_under: Path,
) -> Prepared:
    """Returns the samples of train and val; the test split's labels are hidden.

    Args:
        root: folder that holds `v1/` or `v2/`.
        features: name of a feature set under it, or a folder.
        version: which annotations; None takes v1 where it is there.
        enumeration: which LTA windows count.
        packed_under: where features are packed into one memory-mapped file.

    Raises:
        AnnotationInvalid: a file is missing or malformed; the message says how to fetch it.
        FeatureFileInvalid: a feature file is missing or is none.
    """
    data = DataRoot(root, version or "v1")
    samples: dict[str, dict[str, Samples]] = {}
    store = FeatureStore(data.features(features))
    splits: tuple[Split, ...] = ("train", "val")
    for split in splits:
        tracks = Tracks.join([store.read(video) for video in videos_of(data, split)])
        samples[split] = split_samples(data, split, tracks)
    return Prepared(
        samples=samples,
        labels=data.taxonomy(),
        encoder={"name": Path(features).name, "kind": "features"},
        encoder_tensors={},
        key=stage_key(str(root), features, version, enumeration),
        data=f"Ego4D {data.version} annotations with {Path(features).name} features",
        facts={"licence": "Ego4D's licence binds whoever trained on it"},
    )
