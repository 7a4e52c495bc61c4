"""Models of timm as encoders; only module with timm."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from extract.encoders.library.trunk import (
    FrameMean,
    Layer,
    LibraryConfig,
    LibraryMissing,
    Pooling,
    contract_of,
    pool,
)
from extract.encoders.torch_encoder import TorchEncoder

WEIGHTS_FILE = "model.safetensors"

_NOT_SHAPES = frozenset(
    ("pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir")
    + ("features_only", "num_classes")
)
"""Arguments of a published model that load files or make another network of it."""


@dataclass(frozen=True)
class TimmConfig(LibraryConfig):
    """A model of timm, without its classifier.

    Attributes:
        architecture: its name in timm.
        arguments: those that differ from the architecture's own.
        data: the data configuration that its transform is made from.
    """

    kind: ClassVar[str] = "timm"

    architecture: str
    arguments: Mapping[str, Any]
    data: Mapping[str, Any]

    def build(self) -> "TimmTrunk":
        """Returns the network, randomly initialised.

        Raises:
            ValueError: timm has no such architecture, or an argument would load files.
        """
        timm = _library()
        if not timm.is_model(self.architecture):  # other names may be addresses
            raise ValueError(f"timm has no architecture {self.architecture!r}")
        if refused := sorted(_NOT_SHAPES & set(self.arguments)):
            raise ValueError(f"{self.architecture}: arguments {', '.join(refused)} are not taken")
        try:
            model = timm.create_model(
                self.architecture, pretrained=False, num_classes=0, **self.arguments
            )
        except TypeError as error:
            raise ValueError(f"{self.architecture}: {error}") from error
        return TimmTrunk(model, self.layer, self.pooling)

    @cached_property
    def _transform(self) -> Any:
        _library()
        from timm.data import create_transform

        values = {k: tuple(v) if isinstance(v, list) else v for k, v in self.data.items()}
        return create_transform(**values, is_training=False)

    def pixels(self, frames: np.ndarray) -> Tensor:
        """See `LibraryConfig`."""
        from PIL import Image

        return torch.stack([self._transform(Image.fromarray(frame)) for frame in frames])


def adapt(
    folder: Path, name: str, *, layer: Layer, pooling: Pooling | None, options: Mapping[str, int]
) -> TorchEncoder:
    """Returns the encoder of a model that timm saved for a hub, with its weights in float32.

    Args:
        folder: with model.safetensors, and config.json unless it is called as the architecture.
        name: of the encoder.
        layer: see `LibraryConfig`.
        pooling: see `LibraryConfig`; None: the model's own, or the mean over tokens of a `layer`.
        options: see `contract_of`.

    Raises:
        LibraryMissing: timm is not installed.
        ValueError: timm has no such model, or the tensors are not those of it.
    """
    timm = _library()
    config = folder / "config.json"
    published: dict[str, Any] = {"architecture": name}
    if config.is_file():
        published = json.loads(config.read_bytes())
    architecture = published.get("architecture") or published.get("model_name")
    if not isinstance(architecture, str) or not timm.is_model(architecture):
        raise ValueError(f"{folder}: timm has no architecture {architecture!r}")
    arguments = dict(published.get("model_args") or {})
    arguments.pop("num_classes", None)
    if "global_pool" in published and published["global_pool"]:
        arguments.setdefault("global_pool", published["global_pool"])
    pooling = pooling or ("pooled" if layer == "last" else "mean")
    try:
        draft = TimmConfig(layer, pooling, 0, architecture, arguments, {})
        trunk = draft.build()
        data = _data_of(published.get("pretrained_cfg") or trunk.model.pretrained_cfg)
        _load(trunk.model, folder)
        trunk = trunk.float().eval().requires_grad_(False)
        shaped = TimmConfig(layer, pooling, 0, architecture, arguments, data)
        size = shaped.frame_size()
        with torch.inference_mode():
            width = int(trunk(torch.zeros(1, 3, 1, *size)).shape[1])
    except AttributeError as error:
        raise ValueError(f"{folder}: timm gives no layers of {architecture}") from error
    except (OSError, RuntimeError, ValueError, SafetensorError, AssertionError) as error:
        raise ValueError(f"{folder}: {error}") from error
    made = TimmConfig(layer, pooling, width, architecture, arguments, data)
    contract = contract_of(size, (data["mean"], data["std"]), None, options)
    return TorchEncoder(name, made, contract, trunk)


class TimmTrunk(FrameMean):
    """A model of timm over the frames of windows."""

    def __init__(self, model: Any, layer: Layer, pooling: Pooling) -> None:
        super().__init__()
        self.model = model
        self._layer, self._pooling = layer, pooling

    def of_images(self, images: Tensor) -> Tensor:
        """See `FrameMean`."""
        if self._layer != "last":
            (found,) = self.model.forward_intermediates(
                images, indices=[self._layer - 1], norm=False, intermediates_only=True
            )
            return pool(found, self._pooling, channel=1)
        found = self.model.forward_features(images)
        if self._pooling == "pooled":
            pooled: Tensor = self.model.forward_head(found, pre_logits=True)
            return pooled.flatten(1)
        has_channels_last = getattr(self.model, "output_fmt", "") == "NHWC" or found.ndim == 3
        return pool(found, self._pooling, channel=-1 if has_channels_last else 1)


def _data_of(published: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the data configuration of a model, in plain JSON types."""
    from timm.data import resolve_data_config

    data: dict[str, Any] = json.loads(json.dumps(resolve_data_config(pretrained_cfg=published)))
    return data


def _load(model: Any, folder: Path) -> None:
    """Loads a folder's tensors into a model that has no classifier.

    Raises:
        ValueError: others are missing or left over; names one of each.
    """
    tensors = load_file(folder / WEIGHTS_FILE)
    classifier = model.pretrained_cfg.get("classifier") or "head"
    heads = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    head = tuple(f"{name}." for name in heads)
    own = model.state_dict()
    kept = {k: v for k, v in tensors.items() if k in own or not k.startswith(head)}
    lacking, others = sorted(own.keys() - kept.keys()), sorted(kept.keys() - own.keys())
    if lacking or others:
        what = ((lacking, "lacks"), (others, "has besides them"))
        found = " and ".join(f"{how} {len(k)}, such as {k[0]}" for k, how in what if k)
        raise ValueError(f"expected the model's {len(own)} tensors; {WEIGHTS_FILE} {found}")
    model.load_state_dict(kept, strict=True)


def _library() -> Any:
    try:
        import timm
    except ImportError as error:
        raise LibraryMissing("timm") from error
    return timm
