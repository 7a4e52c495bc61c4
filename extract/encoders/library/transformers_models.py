"""Models of transformers as encoders; only module with transformers.

The configurations of model and processor are those published with the weights; the library's own
classes are built from them, never code from a repository.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

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

_NO_PART = ("transformers_version", "dtype", "torch_dtype", "architectures", "attn_implementation")
"""Keys of a published configuration that do not decide features."""

_REFUSED = {
    "auto_map": "it needs code from its repository, which is never run",
    "quantization_config": "its weights are quantised",
    "use_pretrained_backbone": "it would download another network",
    "use_timm_backbone": "it is a model of timm: name it as timm:NAME",
}
"""Keys of a published configuration that are refused, and why."""


@dataclass(frozen=True)
class TransformersConfig(LibraryConfig):
    """A model of transformers.

    Attributes:
        model: its configuration, as published, of the part that sees.
        processor: configuration of its processor of images or videos.
        takes: "video": windows; "image": frames.
    """

    kind: ClassVar[str] = "transformers"

    model: Mapping[str, Any]
    processor: Mapping[str, Any]
    takes: Literal["video", "image"]

    def build(self) -> nn.Module:
        """Returns the network, randomly initialised."""
        library = _library()
        with _quiet(library):
            config = _config_of(self.model)
            return _trunk_of(library.AutoModel.from_config(config, dtype=torch.float32), self)

    @cached_property
    def _processor(self) -> Any:
        library = _library()
        from transformers.image_processing_utils import BaseImageProcessor
        from transformers.video_processing_utils import BaseVideoProcessor

        name = self.processor.get("video_processor_type") or self.processor.get(
            "image_processor_type"
        )
        found: Any = getattr(library, str(name), None)
        known = (BaseImageProcessor, BaseVideoProcessor)
        if not (isinstance(found, type) and issubclass(found, known)):
            raise ValueError(f"transformers has no processor {name!r}")
        with _quiet(library):
            return cast(Any, found).from_dict(dict(self.processor))

    def pixels(self, frames: np.ndarray) -> Tensor:
        """See `LibraryConfig`."""
        pictures = torch.from_numpy(frames).permute(0, 3, 1, 2)
        if "video_processor_type" in self.processor:
            made = self._processor(
                videos=[pictures],
                do_sample_frames=False,
                input_data_format="channels_first",
                return_tensors="pt",
            )
        else:
            made = self._processor(
                images=list(pictures), input_data_format="channels_first", return_tensors="pt"
            )
        (name,) = (key for key in made if key.startswith("pixel_values"))
        pixels: Tensor = made[name]
        return pixels.squeeze(0) if pixels.ndim == 5 else pixels


def adapt(
    folder: Path, name: str, *, layer: Layer, pooling: Pooling | None, options: Mapping[str, int]
) -> TorchEncoder:
    """Returns the encoder of a model that `save_pretrained` wrote, with its weights in float32.

    Args:
        folder: with config.json, the processor's configuration and safetensors.
        name: of the encoder.
        layer: see `LibraryConfig`.
        pooling: see `LibraryConfig`; None: the model's own, or the mean over tokens.
        options: see `contract_of`.

    Raises:
        LibraryMissing: transformers is not installed.
        ValueError: it is no model for video or images, or lacks weights.
    """
    library = _library()
    try:
        with _quiet(library):
            found = _load(library, folder)
        has_own = layer == "last" and found.takes == "image" and _has_pooler(found)
        if pooling == "pooled" and not has_own:
            raise ValueError("it has no trained pooled output of its own: take mean or first")
        pooling = pooling or ("pooled" if has_own else "mean")
        made = TransformersConfig(layer, pooling, 0, found.published, found.processor, found.takes)
        size = made.frame_size()
        made = replace(made, width=_width(made, found.model, size))
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, SafetensorError) as error:
        raise ValueError(f"{folder}: {error}") from error
    statistics = found.processor.get("image_mean"), found.processor.get("image_std")
    contract = contract_of(size, statistics, found.frames, options)
    return TorchEncoder(name, made, contract, _trunk_of(found.model, made).requires_grad_(False))


@dataclass(frozen=True)
class _Loaded:
    """A model as the library loads it.

    Attributes:
        model: in float32.
        published: its configuration, see `_published`.
        processor: configuration of its processor.
        takes: see `TransformersConfig`.
        frames: of a video model's window; None for one of images.
        has_all: whether every tensor was there; those of a pooler may not be.
    """

    model: Any
    published: dict[str, Any]
    processor: dict[str, Any]
    takes: Literal["video", "image"]
    frames: int | None
    has_all: bool


def _load(library: Any, folder: Path) -> _Loaded:
    """Loads a folder's model, from safetensors alone.

    Raises:
        OSError, ValueError, KeyError, RuntimeError, TypeError: it cannot be, or is no such model.
    """
    published = _published(folder / "config.json")
    config = _config_of(published)
    model, found = library.AutoModel.from_pretrained(
        folder,
        config=config,
        dtype=torch.float32,
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        output_loading_info=True,
    )
    if model.main_input_name not in ("pixel_values", "pixel_values_videos"):
        raise ValueError(f"expected a model of images or videos, it takes {model.main_input_name}")
    missing = sorted(found["missing_keys"])
    if lost := [key for key in missing if not key.startswith("pooler.")]:
        raise ValueError(f"its safetensors lack {len(lost)} tensors, such as {lost[0]}")
    frames = getattr(config, "frames_per_clip", None) or getattr(config, "num_frames", None)
    takes: Literal["video", "image"] = "video" if frames else "image"
    processor = _processor_of(library, folder, takes)
    return _Loaded(model, published, processor, takes, frames, not missing)


class _VideoTrunk(nn.Module):
    """A video model over windows."""

    def __init__(self, model: Any, config: TransformersConfig) -> None:
        super().__init__()
        self.model = model
        self._layer, self._pooling = config.layer, config.pooling
        self._more = {"skip_predictor": True} if config.model["model_type"] == "vjepa2" else {}

    def forward(self, pixels: Tensor) -> Tensor:
        """Returns features, (B, dim), of (B, 3, T, h, w)."""
        windows = {self.model.main_input_name: pixels.transpose(1, 2)}
        return _pooled(self.model, windows | self._more, self._layer, self._pooling)


class _ImageTrunk(FrameMean):
    """An image model over the frames of windows."""

    def __init__(self, model: Any, config: TransformersConfig) -> None:
        super().__init__()
        self.model = model
        self._layer, self._pooling = config.layer, config.pooling

    def of_images(self, images: Tensor) -> Tensor:
        """See `FrameMean`."""
        return _pooled(self.model, {"pixel_values": images}, self._layer, self._pooling)


def _trunk_of(model: Any, config: TransformersConfig) -> nn.Module:
    """Returns the network, less the parts that do not decide its features."""
    if hasattr(model, "predictor"):
        model.predictor = None
    if config.pooling != "pooled" and getattr(model, "pooler", None) is not None:
        model.pooler = None
    kind = _VideoTrunk if config.takes == "video" else _ImageTrunk
    return kind(model, config).eval()


def _pooled(model: Any, inputs: Mapping[str, Any], layer: Layer, pooling: Pooling) -> Tensor:
    made = model(**inputs, output_hidden_states=layer != "last", return_dict=True)
    if pooling == "pooled":
        own: Tensor = made.pooler_output
        return own.flatten(1)
    tokens: Tensor = made.last_hidden_state if layer == "last" else made.hidden_states[layer]
    return pool(tokens, pooling, channel=1 if tokens.ndim == 4 else -1)


def _has_pooler(found: _Loaded) -> bool:
    """Returns whether an image model has a pooled output of its own, and its weights."""
    model = found.model
    size = model.config.image_size if hasattr(model.config, "image_size") else 224
    height, width = (size, size) if isinstance(size, int) else size
    with torch.inference_mode():
        made = model(pixel_values=torch.zeros(1, 3, height, width), return_dict=True)
    return found.has_all and getattr(made, "pooler_output", None) is not None


def _width(draft: TransformersConfig, model: Any, size: tuple[int, int]) -> int:
    """Returns the numbers in a feature; of an image, found by encoding one."""
    if draft.takes == "video":
        return int(model.config.hidden_size)
    try:
        with torch.inference_mode():
            rows = _trunk_of(model, draft)(torch.zeros(1, 3, 1, *size))
    except IndexError as error:
        raise ValueError(f"layer={draft.layer}: the model has fewer layers") from error
    return int(rows.shape[1])


def _published(path: Path) -> dict[str, Any]:
    """Returns the configuration of the part that sees, less what does not decide features."""
    values = json.loads(path.read_bytes())
    if not isinstance(values, dict) or "model_type" not in values:
        raise ValueError(f"{path.name} names no model_type")
    for key, why in _REFUSED.items():
        if values.get(key):
            raise ValueError(f"{path.name} has {key!r}: {why}")
    if isinstance(values.get("vision_config"), dict):
        part = _library().AutoConfig.for_model(**values).vision_config
        values = {"model_type": part.model_type} | values["vision_config"]
    return {k: v for k, v in values.items() if k not in _NO_PART and not k.startswith("_")}


def _config_of(values: Mapping[str, Any]) -> Any:
    """Returns the library's configuration of values that `_published` returned.

    Raises:
        ValueError: they would have it run or load something else, or it does not know the model.
    """
    for key, why in _REFUSED.items():
        if values.get(key):
            raise ValueError(f"the configuration has {key!r}: {why}")
    return _library().AutoConfig.for_model(**values)


def _processor_of(library: Any, folder: Path, takes: str) -> dict[str, Any]:
    """Returns the configuration of a folder's processor: of videos, if the model takes them."""
    how = {"trust_remote_code": False, "local_files_only": True}
    found = None
    if takes == "video":
        with suppress(OSError, ValueError):  # it may have one of images
            found = library.AutoVideoProcessor.from_pretrained(folder, **how)
    found = found or library.AutoImageProcessor.from_pretrained(folder, **how)
    values: dict[str, Any] = json.loads(found.to_json_string())
    return {key: value for key, value in values.items() if key not in (*_NO_PART, "auto_map")}


def _library() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise LibraryMissing("transformers") from error
    return transformers


@contextmanager
def _quiet(library: Any) -> Iterator[None]:
    """Keeps the library's own log to errors."""
    log = library.utils.logging
    before, has_bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(before)
        if has_bars:
            log.enable_progress_bar()
