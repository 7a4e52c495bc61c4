"""Data augmentation: frames and label maps of footage -> samples with targets per location."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from extract.contract import FeatureContract
from extract.encoders.preprocess import to_network_input


@dataclass(frozen=True)
class ViewConfig:
    """Ranges of the augmentation.

    Attributes:
        map_size: height and width of a label map; they divide the frame's.
        shift: largest translation, in pixels.
        zoom: largest relative change of scale.
        gain: largest relative change of channels and brightness.
        swap: share of samples whose colour channels are permuted.
        least_share: share of a location that an object must cover to be a target there.
    """

    map_size: tuple[int, int] = (48, 64)
    shift: int = 8
    zoom: float = 0.15
    gain: float = 0.25
    swap: float = 0.3
    least_share: float = 0.04


class Views:
    """Draws samples: the same geometric augmentation for windows and label maps."""

    def __init__(self, contract: FeatureContract, token_frames: int, config: ViewConfig) -> None:
        """Sets the sizes and ranges.

        Args:
            contract: the encoder's input.
            token_frames: kept frames in one temporal token, each of which has a label map.
            config: ranges of the augmentation.
        """
        self._contract, self._token_frames, self._config = contract, token_frames, config

    def take(
        self,
        frames: NDArray[np.uint8],
        maps: NDArray[np.uint8],
        tokens: Sequence[int],
        count: int,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Returns K windows of one video, (K, T, H, W, 3) uint8 and (K, count, h, w) uint8.

        Args:
            frames: the video's kept frames, (n, H, W, 3).
            maps: its label maps.
            tokens: first temporal token of each window, clamped to the last whole window.
            count: temporal tokens in a window, T / token_frames.
            generator: random generator.
        """
        size = self._token_frames
        last = min(len(frames) // size, len(maps)) - count
        begins = [min(max(token, 0), last) for token in tokens]
        windows = np.stack([frames[b * size : (b + count) * size] for b in begins])
        shown = np.stack([maps[b : b + count] for b in begins])
        rows, columns = self._crop(generator)
        height, width = self._config.map_size
        down, across = len(rows) // height, len(columns) // width
        return (
            _pick(torch.from_numpy(windows), rows, columns),
            _pick(
                torch.from_numpy(shown).unsqueeze(-1),
                rows[down // 2 :: down] // down,
                columns[across // 2 :: across] // across,
            ).squeeze(-1),
        )

    def _crop(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws the source row and column of each pixel."""
        config, contract = self._config, self._contract
        dy, dx = (2 * torch.rand(2, generator=generator) - 1) * config.shift
        zoom = 1 + config.zoom * (2 * torch.rand(1, generator=generator) - 1)
        sources = []
        for size, moved in ((contract.crop_height, dy), (contract.crop_width, dx)):
            middle = (size - 1) / 2
            place = (torch.arange(size) - middle) / zoom + middle + moved
            sources.append(place.round().long().clamp(0, size - 1))
        rows, columns = sources
        if torch.rand(1, generator=generator) < 0.5:
            columns = columns.flip(0)
        return rows, columns

    def recolour(self, windows: Tensor, generator: torch.Generator) -> Tensor:
        """Returns the network's input, (B*K, 3, T, H, W), with colour jitter per sample.

        Args:
            windows: (B, K, T, H, W, 3) uint8.
            generator: random generator.
        """
        gain, batch = self._config.gain, len(windows)
        x = to_network_input(windows.flatten(0, 1), self._contract).unflatten(0, (batch, -1))
        factor = 1 + gain * (2 * torch.rand(batch, 1, 3, 1, 1, 1, generator=generator) - 1)
        bias = gain * (2 * torch.rand(batch, 1, 1, 1, 1, 1, generator=generator) - 1)
        x.mul_(factor).add_(bias)
        for sample in x:
            if torch.rand(1, generator=generator) < self._config.swap:
                sample.copy_(sample[:, torch.randperm(3, generator=generator)])
        recoloured: Tensor = x.flatten(0, 1)
        return recoloured


def place_targets(
    maps: Tensor, num_nouns: int, *, grid: tuple[int, int], least_share: float
) -> tuple[Tensor, Tensor]:
    """Returns the targets of each location: (..., *grid, N + 1) and (..., *grid, N) booleans.

    First the visible nouns and the hand, then the noun that is being acted on.

    Args:
        maps: (..., h, w) uint8, as `Renderer.labels` draws them.
        num_nouns: N.
        grid: rows and columns of locations; they divide the maps'.
        least_share: share of a location that an object must cover to be a target there.
    """
    kinds = num_nouns + 2  # the table, the nouns, a hand
    code = (maps & 127).long() + kinds * (maps >> 7).long()
    places = code.unflatten(-2, (grid[0], -1)).unflatten(-1, (grid[1], -1))
    places = places.transpose(-3, -2).flatten(-2)  # (..., *grid, pixels of a location)
    counts = torch.zeros(*places.shape[:-1], 2 * kinds)
    counts.scatter_add_(-1, places, torch.ones(()).expand(places.shape))
    shares = counts / places.shape[-1]
    visible = shares[..., :kinds] + shares[..., kinds:]
    acted_on = shares[..., kinds:]
    return visible[..., 1:] >= least_share, acted_on[..., 1 : num_nouns + 1] >= least_share


def _pick(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    return images.index_select(2, rows).index_select(3, columns)
