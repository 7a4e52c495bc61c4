"""Library trunk: what networks of transformers and timm have in common as encoders.

A video network takes a window whole; an image network takes its frames, and the window's feature is
their mean.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from extract.contract import FeatureContract
from extract.encoders.torch_encoder import TrunkConfig
from extract.errors import RuntimeUnavailable

Layer = Literal["last"] | int
Pooling = Literal["pooled", "mean", "first"]

IMAGE_WINDOW, IMAGE_FRAMES = 32, 4
"""Frames of an image network's window on the contract's clock, and how many of them are used."""

VIDEO_STEP = 2
"""Default step between the frames of a video network's window: 64 of them span 4.3 s."""

_PICTURE_BYTES = 256 * 1024 * 1024
"""Most whole frames, as floats, in one call of a library's preprocessing."""

_PROBES = ((96, 128), (128, 96))
"""Height and width of made-up frames, to learn the size that a preprocessing makes of them."""


class LibraryMissing(RuntimeUnavailable):
    """The library of an encoder is not installed."""

    def __init__(self, library: str) -> None:
        super().__init__(
            f"this encoder needs {library}, which is not installed: "
            "install the extra `encoders` (requirements/encoders.txt)"
        )


@dataclass(frozen=True)
class LibraryConfig(TrunkConfig):
    """A network of a library, all of it in plain JSON types: no file is read to build it.

    Attributes:
        layer: "last", or the block whose output is used, from 1, without the final norm.
        pooling: "pooled", the network's own; "mean" over tokens; or "first", a class token.
        width: numbers in one feature vector.
    """

    layer: Layer
    pooling: Pooling
    width: int

    @property
    def dim(self) -> int:
        """Numbers in one feature vector."""
        return self.width

    def prepare(self, frames: np.ndarray) -> np.ndarray:
        """See `TrunkConfig`; a bounded number of frames at a time."""
        step = max(1, _PICTURE_BYTES // (4 * frames[0].size))
        parts = [self.pixels(frames[i : i + step]) for i in range(0, len(frames), step)]
        return torch.cat(parts).permute(0, 2, 3, 1).float().contiguous().numpy()

    @abstractmethod
    def pixels(self, frames: np.ndarray) -> Tensor:
        """Returns what the library's own preprocessing makes of frames, (n, 3, h, w)."""

    def frame_size(self) -> tuple[int, int]:
        """Returns (height, width) of prepared frames.

        Raises:
            ValueError: the preprocessing makes no pictures, or of different sizes.
        """
        found = []
        for height, width in _PROBES:
            made = self.pixels(np.zeros((1, height, width, 3), np.uint8))
            if made.ndim != 4 or made.shape[1] != 3:
                raise ValueError(
                    f"its preprocessing makes {tuple(made.shape)}, expected (n, 3, height, width): "
                    "take a model of fixed resolution"
                )
            found.append((int(made.shape[2]), int(made.shape[3])))
        if found[0] != found[1]:
            raise ValueError(
                f"its preprocessing makes {found[0]} of {_PROBES[0]} pixels and {found[1]} of "
                f"{_PROBES[1]}: expected one size of all videos"
            )
        return found[0]


class FrameMean(nn.Module):
    """Base of image networks over the frames of a window."""

    def forward(self, pixels: Tensor) -> Tensor:
        """Returns the mean feature of a window's frames, (B, dim).

        Args:
            pixels: (B, 3, T, h, w), prepared.
        """
        images = pixels.transpose(1, 2)
        rows: Tensor = self.of_images(images.flatten(0, 1))
        means: Tensor = rows.unflatten(0, images.shape[:2]).mean(1)
        return means

    @abstractmethod
    def of_images(self, images: Tensor) -> Tensor:
        """Returns features, (n, dim), of (n, 3, h, w)."""


def pool(tokens: Tensor, pooling: Pooling, channel: int = -1) -> Tensor:
    """Returns the first token, or the mean of all, (B, C).

    Args:
        tokens: (B, N, C), or a map of four axes.
        pooling: "mean" or "first".
        channel: axis of the channels.

    Raises:
        ValueError: the first token of a map is asked for.
    """
    if pooling == "first":
        if tokens.ndim != 3:
            raise ValueError("pooling=first: the network makes a map without a class token")
        return tokens[:, 0]
    flat = tokens.movedim(channel, -1).flatten(1, -2)
    return flat.mean(1)


def contract_of(
    size: tuple[int, int],
    statistics: tuple[Any, Any],
    frames: int | None,
    options: Mapping[str, int],
) -> FeatureContract:
    """Returns the contract of a network.

    Args:
        size: (height, width) of prepared frames.
        statistics: mean and standard deviation of the preprocessing, a value a channel, or None.
        frames: of a video network's window; None for an image network.
        options: fields of the contract that are set: fps, window_frames, stride_frames, frame_step.

    Raises:
        ValueError: the window holds no whole number of steps.
    """
    step = options.get("frame_step")
    if frames is None:
        window = options.get("window_frames", IMAGE_WINDOW)
        step = step or max(1, window // IMAGE_FRAMES)
    else:
        step = step or VIDEO_STEP
        window = options.get("window_frames", frames * step)
    if window % step:
        raise ValueError(f"window_frames={window}: expected a multiple of frame_step={step}")
    mean, std = statistics
    return FeatureContract(
        fps=options.get("fps", 30),
        window_frames=window,
        stride_frames=options.get("stride_frames", max(1, window // 2)),
        frame_step=step,
        short_side=min(size),
        crop_height=size[0],
        crop_width=size[1],
        resize="library",
        color="tagged",
        mean=_channels(mean, 0.0),
        std=_channels(std, 1.0),
    )


def _channels(values: Any, default: float) -> tuple[float, float, float]:
    red, green, blue = values or (default,) * 3
    return float(red), float(green), float(blue)
