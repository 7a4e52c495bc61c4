"""FeatureTrack: all feature vectors of one video, with times and encoder."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from extract.contract import FeatureContract
from extract.windows import cut_windows


@dataclass(frozen=True)
class EncoderId:
    """Identity of an encoder: its name and the hash of its weights and contract."""

    name: str
    fingerprint: str


@dataclass(frozen=True, eq=False)
class FeatureTrack:
    """Feature vectors of one video in time order.

    Attributes:
        features: (L, D_in) float32, one row per window.
        start_s: (L,) float64, start of each window, on the clock of the video's container.
        end_s: (L,) float64, end of its last frame.
        fps: frames per second of the clock the windows were cut on.
        video_id: what the caller calls the video.
        encoder: that made the features.
        num_frames: length of the video on that clock.
        stride_frames: frames between two regular window starts.
        is_padded: the video was shorter than one window, so its last frame was repeated.
        origin_s: presentation time of the video's first frame, on the clock of its container.
        ticks_per_s: frames on the windows' clock in a second of the video: `fps`, unless the
            frames of a video of nearly that rate were used as they are.
    """

    features: Tensor
    start_s: Tensor
    end_s: Tensor
    fps: float
    video_id: str
    encoder: EncoderId
    num_frames: int
    stride_frames: int = 16
    is_padded: bool = False
    origin_s: float = 0.0
    ticks_per_s: float = 0.0  # given as 0: `fps`

    def __post_init__(self) -> None:
        """Checks shapes.

        Raises:
            ValueError: a shape, type or clock is not as documented.
        """
        if self.ticks_per_s == 0.0:
            object.__setattr__(self, "ticks_per_s", self.fps)
        if not (0 <= self.origin_s < math.inf and 0 < self.ticks_per_s < math.inf):
            raise ValueError(f"no clock: {self.ticks_per_s} ticks a second from {self.origin_s} s")
        if self.features.ndim != 2 or self.features.dtype != torch.float32:
            raise ValueError(
                f"features: expected (L, D_in) float32, got {tuple(self.features.shape)} "
                f"{self.features.dtype}"
            )
        length = len(self.features)
        if length == 0 or self.start_s.shape != (length,) or self.end_s.shape != (length,):
            raise ValueError(
                f"expected L >= 1 features, starts and ends, got {length}, "
                f"{tuple(self.start_s.shape)}, {tuple(self.end_s.shape)}"
            )

    @classmethod
    def of_windows(
        cls,
        features: Tensor,
        num_frames: int,
        contract: FeatureContract,
        encoder: EncoderId,
        video_id: str,
        *,
        origin_s: float = 0.0,
        ticks_per_s: float | None = None,
    ) -> "FeatureTrack":
        """Returns the track of a video's windows, whose times follow from its number of frames.

        Args:
            features: (L, D_in) float32, in window order.
            num_frames: length of the video on the contract's clock.
            contract: how the windows were cut.
            encoder: what made the features.
            video_id: what the caller calls the video.
            origin_s: time of its first frame.
            ticks_per_s: `contract.fps` when None.
        """
        ticks_per_s = ticks_per_s or float(contract.fps)
        start_s, end_s = window_times(num_frames, contract, ticks_per_s, origin_s)
        return cls(
            features=features,
            start_s=start_s,
            end_s=end_s,
            fps=float(contract.fps),
            video_id=video_id,
            encoder=encoder,
            num_frames=num_frames,
            stride_frames=contract.stride_frames,
            is_padded=num_frames < contract.window_frames,
            origin_s=origin_s,
            ticks_per_s=ticks_per_s,
        )

    @property
    def duration_s(self) -> float:
        """Length of the video."""
        return self.num_frames / self.ticks_per_s

    @property
    def video_end_s(self) -> float:
        """End of its last frame, on the clock of its container."""
        return self.origin_s + self.duration_s

    def frame_at(self, time_s: Tensor) -> Tensor:
        """Returns the frame on the windows' clock at given times, (...) int64.

        Args:
            time_s: (...) float64 on the clock of the video's container.
        """
        frames = ((time_s - self.origin_s) * self.ticks_per_s).round().long()
        return frames.clamp(0, self.num_frames)

    def __repr__(self) -> str:
        length, width = self.features.shape
        return (
            f"FeatureTrack({self.video_id!r}, L={length}, D_in={width}, "
            f"{self.duration_s:.2f} s, {self.encoder.name})"
        )


def window_times(
    num_frames: int, contract: FeatureContract, ticks_per_s: float, origin_s: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Returns when each window starts and ends, in seconds: two (L,) float64 tensors.

    Args:
        num_frames: length of the video; a padded window ends where the video ends.
        contract: how windows are cut.
        ticks_per_s: frames on the contract's clock in a second of the video.
        origin_s: time of the video's first frame.
    """
    start = torch.tensor(cut_windows(num_frames, contract), dtype=torch.float64)
    end = (start + contract.window_frames).clamp(max=num_frames)
    return origin_s + start / ticks_per_s, origin_s + end / ticks_per_s
