"""Trains the small tabletop encoder from pixels on verbs and nouns of training segments only.

It stands for what Kinetics is to Omnivore: features that know actions, not the tasks. A sample is
several windows of one segment; their features are averaged before the two classifiers, because a
label says what happens in the segment, not in which window.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from extract.contract import FeatureContract
from extract.pixels import to_network_input
from extract.swin import SwinConfig, SwinEncoder, build_trunk
from extract.video import Limits, stream_frames
from model.config import FitConfig
from model.data.annotations import ActionRecord, DataRoot
from model.fit import fit, shuffled
from model.losses import task_loss

SHIFT_PIXELS = 8
GAIN = 0.25

UNLIMITED = Limits(max_duration_s=float("inf"), max_frames=2**62, decode_wall_s=float("inf"))


@dataclass(frozen=True)
class PretrainConfig:
    """How the encoder is trained.

    Attributes:
        fit: the optimisation.
        windows_per_sample: windows averaged in one sample.
        centre_share: windows lie in this central part of the segment, where its action is.
    """

    fit: FitConfig
    windows_per_sample: int = 3
    centre_share: float = 0.7


class FrameCache:
    """Training videos as the network sees them, decoded once: every `frame_step`-th frame."""

    def __init__(self, folder: Path, data: DataRoot, contract: FeatureContract) -> None:
        """Keeps one array per video under `folder`."""
        self._folder, self._data, self._contract = folder, data, contract
        folder.mkdir(parents=True, exist_ok=True)
        self._open: dict[str, NDArray[np.uint8]] = {}

    def fill(self, videos: Sequence[str], progress: Callable[[int, int], None]) -> None:
        """Decodes videos that are not cached yet; an interrupted one is done again."""
        for done, video in enumerate(videos, 1):
            path = self._folder / f"{video}.npy"
            if not path.is_file():
                part = path.with_suffix(".part")
                with part.open("wb") as file:
                    np.save(file, self._decode(video))
                part.rename(path)
            progress(done, len(videos))

    def frames(self, video: str) -> NDArray[np.uint8]:
        """Returns a video's kept frames, (n, H, W, 3), mapped from disk."""
        if video not in self._open:
            self._open[video] = np.load(self._folder / f"{video}.npy", mmap_mode="r")
        return self._open[video]

    def _decode(self, video: str) -> NDArray[np.uint8]:
        step, seen = self._contract.frame_step, 0
        kept = []
        path = self._data.videos / f"{video}.mp4"
        for block in stream_frames(path, self._contract, UNLIMITED):
            kept.append(block[-seen % step :: step].copy())
            seen += len(block)
        return np.concatenate(kept)


class _Classifier(nn.Module):
    def __init__(self, trunk: nn.Module, width: int, num_labels: dict[str, int]) -> None:
        super().__init__()
        self.trunk = trunk
        self.dropout = nn.Dropout(0.3)
        self.outputs = nn.ModuleDict({n: nn.Linear(width, size) for n, size in num_labels.items()})

    def forward(self, windows: Tensor, per_sample: int) -> dict[str, Tensor]:
        features = self.trunk(windows).unflatten(0, (-1, per_sample)).mean(dim=1)
        dropped = self.dropout(features)
        return {name: layer(dropped).unsqueeze(1) for name, layer in self.outputs.items()}


def pretrain_encoder(
    name: str,
    swin: SwinConfig,
    contract: FeatureContract,
    actions: list[ActionRecord],
    cache: FrameCache,
    num_labels: dict[str, int],
    *,
    config: PretrainConfig,
    seed: int,
    checkpoint: Path | None = None,
) -> SwinEncoder:
    """Returns an encoder trained on the actions given.

    Args:
        name: of the encoder.
        swin: its architecture.
        contract: its input.
        actions: labelled training segments.
        cache: filled for the videos of the actions.
        num_labels: "verb" and "noun" -> classes.
        config: how.
        seed: of everything random.
        checkpoint: where epochs are saved and resumed from.
    """
    torch.manual_seed(seed)
    trunk = build_trunk(swin)
    width = swin.width * 2 ** (len(swin.depths) - 1)
    model = _Classifier(trunk, width, num_labels)

    def batches(generator: torch.Generator) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        for which in shuffled(len(actions), config.fit.batch_size, generator):
            chosen = [actions[p] for p in which.tolist()]
            windows = torch.stack(
                [
                    _windows(r, cache.frames(r.video_uid), contract, config, generator)
                    for r in chosen
                ]
            )
            labels = {
                "verb": torch.tensor([[r.verb] for r in chosen]),
                "noun": torch.tensor([[r.noun] for r in chosen]),
            }
            yield _augment(windows, contract, generator), labels

    def loss(batch: tuple[Tensor, dict[str, Tensor]]) -> Tensor:
        windows, labels = batch
        logits = model(windows, config.windows_per_sample)
        return task_loss(logits, labels, smoothing=config.fit.label_smoothing)

    fit(
        model,
        batches,
        loss,
        config=config.fit,
        steps_per_epoch=-(-len(actions) // config.fit.batch_size),
        seed=seed,
        label="encoder",
        checkpoint=checkpoint,
        max_norm=1.0,
    )
    return SwinEncoder(name, swin, contract, trunk.requires_grad_(False))


def _windows(
    record: ActionRecord,
    frames: NDArray[np.uint8],
    contract: FeatureContract,
    config: PretrainConfig,
    generator: torch.Generator,
) -> Tensor:
    """Draws one window from each equal part of the segment's centre, (K, T, H, W, 3) uint8."""
    step = contract.frame_step
    length = contract.window_frames // step
    start, end = record.start_frame / step, record.end_frame / step
    margin = (end - start) * (1 - config.centre_share) / 2
    low, high = start + margin, max(start + margin, end - margin - length)
    part = (
        torch.arange(config.windows_per_sample)
        + torch.rand(config.windows_per_sample, generator=generator)
    ) / config.windows_per_sample
    first = (low + part * (high - low)).long().clamp(0, max(0, len(frames) - length))
    return torch.stack([torch.from_numpy(frames[f : f + length].copy()) for f in first.tolist()])


def _augment(windows: Tensor, contract: FeatureContract, generator: torch.Generator) -> Tensor:
    """Mirrors, shifts and recolours each sample's windows alike.

    Returns:
        (B*K, 3, T, h, w) from (B, K, T, H, W, 3) uint8.
    """
    height, width = windows.shape[3:5]
    moved = torch.empty_like(windows)
    for place, sample in enumerate(windows):  # bytes are moved before they become floats
        dy, dx = torch.randint(-SHIFT_PIXELS, SHIFT_PIXELS + 1, (2,), generator=generator).tolist()
        rows = (torch.arange(height) + dy).clamp(0, height - 1)
        columns = (torch.arange(width) + dx).clamp(0, width - 1)
        if torch.rand(1, generator=generator) < 0.5:
            columns = columns.flip(0)
        moved[place] = sample[:, :, rows][:, :, :, columns]
    x = to_network_input(moved.flatten(0, 1), contract)
    x = x.unflatten(0, windows.shape[:2])  # (B, K, 3, T, h, w)
    gain = 1 + GAIN * (2 * torch.rand(len(x), 1, 3, 1, 1, 1, generator=generator) - 1)
    bias = GAIN * (2 * torch.rand(len(x), 1, 1, 1, 1, 1, generator=generator) - 1)
    augmented: Tensor = x.mul_(gain).add_(bias).flatten(0, 1)
    return augmented
