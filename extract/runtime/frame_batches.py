"""Frame batches: frames that windows share are transferred and preprocessed once.

Windows of one video overlap by half, and by more where the last one is moved back.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from extract.encoders.encoder import VideoEncoder
from extract.windows import FrameWindow

EncodeBatch = Callable[[Sequence[FrameWindow]], Tensor]
"""Windows of frames of one size, as `VideoEncoder.encode` takes them, to (B, dim) float32."""

_PIXEL_BYTES = 256 * 1024 * 1024
"""Largest batch of floats before the resize: some ten full-HD frames."""


@runtime_checkable
class FrameEncoder(VideoEncoder, Protocol):
    """An encoder with a separate preprocessing of frames."""

    @property
    def device(self) -> torch.device:
        """Of preprocessing and encoding."""

    def to_pixels(self, frames: Tensor) -> Tensor:
        """Returns (3, n, h, w) float32 on the device, of (n, H, W, 3) frames on any."""

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """Returns (B, dim) float32 of windows of such pixels, (B, 3, T, h, w)."""


@runtime_checkable
class WindowsEncoder(VideoEncoder, Protocol):
    """An encoder that takes windows with the frames they share."""

    def encode_windows(self, windows: Sequence[FrameWindow]) -> Tensor:
        """Returns (B, dim) float32; see `EncodeBatch`."""


def batch_encoder(encoder: VideoEncoder) -> EncodeBatch:
    """Returns a function that encodes batches, of one video in order or of several.

    Frames are shared where that is faster: on a CPU, frames in the network's size are normalised
    twice as fast as they are gathered. Features are the same.
    """
    if isinstance(encoder, WindowsEncoder):
        return encoder.encode_windows
    if isinstance(encoder, FrameEncoder) and (
        encoder.contract.resize == "float" or encoder.device.type == "cuda"
    ):
        return SharedFrames(encoder)

    def encode(windows: Sequence[FrameWindow]) -> Tensor:
        stacked = np.stack([frame for window in windows for _, frame in window])
        return encoder.encode(torch.from_numpy(stacked).unflatten(0, (len(windows), -1)))

    return encode


class SharedFrames:
    """Encodes batches, and keeps the preprocessed frames of the last window for the next one."""

    def __init__(self, encoder: FrameEncoder) -> None:
        self._encoder = encoder
        self._pixels: dict[int, Tensor] = {}  # number of a frame -> (3, h, w)
        self._transfer = _CudaTransfer(encoder.device) if encoder.device.type == "cuda" else None

    @torch.inference_mode()
    def __call__(self, windows: Sequence[FrameWindow]) -> Tensor:
        """Returns features, (B, dim) float32, on the encoder's device."""
        frames = {number: frame for window in windows for number, frame in window}
        kept = {n: pixels for n, pixels in self._pixels.items() if n in frames}
        new = [n for n in frames if n not in kept]
        parts = [torch.stack(list(kept.values()), dim=1)] if kept else []
        parts += self._prepared([frames[n] for n in new])
        pixels = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        place_of = {n: place for place, n in enumerate([*kept, *new])}
        batch = self._gathered(pixels, [[place_of[n] for n, _ in window] for window in windows])
        # Windows later in a video overlap the last one. Copied: a view would keep all others.
        last = batch[-1].clone()
        self._pixels = {n: last[:, place] for place, (n, _) in enumerate(windows[-1])}
        features = self._encoder.encode_pixels(batch)
        if self._transfer is not None:
            self._transfer.end_batch()
        return features

    def _prepared(self, frames: list[np.ndarray]) -> Iterator[Tensor]:
        """Yields preprocessed frames, (3, n, h, w), some at a time."""
        step = max(1, _PIXEL_BYTES // (4 * frames[0].size)) if frames else 1
        for first in range(0, len(frames), step):
            yield self._encoder.to_pixels(self._fetch(frames[first : first + step]))

    def _gathered(self, pixels: Tensor, places: list[list[int]]) -> Tensor:
        """Returns windows, (B, 3, T, h, w), of preprocessed frames, (3, n, h, w)."""
        channels, _, *size = pixels.shape
        batch = pixels.new_empty(len(places), channels, len(places[0]), *size)
        rows = torch.tensor(places)
        if self._transfer is not None:
            rows = rows.pin_memory().to(self._encoder.device, non_blocking=True)
        for window, row in zip(batch, rows, strict=True):
            torch.index_select(pixels, 1, row, out=window)
        return batch

    def _fetch(self, frames: list[np.ndarray]) -> Tensor:
        if self._transfer is not None:
            return self._transfer.fetch(frames)
        return torch.from_numpy(np.stack(frames))


class _CudaTransfer:
    """Prefetch of frames to a CUDA device while it computes, at most two batches ahead.

    Copies run on a stream of their own, from pinned memory, which torch keeps until the end of the
    copy and then hands out again.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._under_way: deque[torch.cuda.Event] = deque()

    def fetch(self, frames: list[np.ndarray]) -> Tensor:
        """Returns (n, H, W, 3) frames on the device, for its current stream."""
        dtype = torch.uint8 if frames[0].dtype == np.uint8 else torch.float32
        pinned = torch.empty((len(frames), *frames[0].shape), dtype=dtype, pin_memory=True)
        np.stack(frames, out=pinned.numpy())
        with torch.cuda.stream(self._stream):
            fetched = pinned.to(self._device, non_blocking=True)
        current = torch.cuda.current_stream(self._device)
        current.wait_stream(self._stream)
        fetched.record_stream(current)
        return fetched

    def end_batch(self) -> None:
        """Records the end of a batch, and waits while more than two are under way."""
        ended = torch.cuda.Event()
        ended.record(torch.cuda.current_stream(self._device))
        self._under_way.append(ended)
        if len(self._under_way) > 2:
            self._under_way.popleft().synchronize()
