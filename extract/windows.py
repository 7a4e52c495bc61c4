"""Frame counts to windows: pure arithmetic, as Ego4D's published features were cut.

Knows neither files nor networks; counts frames on the feature contract's clock.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from extract.contract import FeatureContract

if TYPE_CHECKING:  # at run time not where frames are decoded
    from torch import Tensor


def cut_windows(num_frames: int, *, window_frames: int = 32, stride_frames: int = 16) -> list[int]:
    """Returns the first frame of every window, in order.

    A window starts every `stride_frames` (paper Sec. 4.1: 32 frames every 16). When the last of
    them does not end on the last frame, one more window covers the last `window_frames` frames,
    so its start need not be a multiple of the stride.

    Args:
        num_frames: length of the video; one shorter than a window still gives one, at 0.
        window_frames: frames in a window.
        stride_frames: frames between two regular starts.

    Raises:
        ValueError: an argument is below one.
    """
    if min(num_frames, window_frames, stride_frames) < 1:
        raise ValueError(
            f"expected at least one frame, got {num_frames=}, {window_frames=}, {stride_frames=}"
        )
    last_start = max(0, num_frames - window_frames)
    starts = list(range(0, last_start + 1, stride_frames))
    if starts[-1] != last_start:
        starts.append(last_start)
    return starts


def count_windows(num_frames: int, *, window_frames: int = 32, stride_frames: int = 16) -> int:
    """Returns how many windows `cut_windows` returns, at no cost whatever the length."""
    beyond = max(0, num_frames - window_frames)
    return 1 + -(-beyond // stride_frames)


def wanted_frames(num_frames: int, contract: FeatureContract) -> np.ndarray:
    """Returns whether any window looks at each frame, (num_frames,) bool.

    With a `frame_step` of one that is every frame, unless windows lie apart. With a larger one it
    is the grid of the regular windows and that of the moved-back last one. The first frame is
    always wanted. What a video lacks of its only window is its last frame again.

    Args:
        num_frames: length of the video.
        contract: says how windows are cut.

    Raises:
        ValueError: there is no frame.
    """
    starts = np.array(
        cut_windows(
            num_frames,
            window_frames=contract.window_frames,
            stride_frames=contract.stride_frames,
        )
    )
    wanted = np.zeros(num_frames, dtype=bool)
    for offset in range(0, contract.window_frames, contract.frame_step):
        wanted[np.minimum(starts + offset, num_frames - 1)] = True
    return wanted


def window_times(
    starts: Sequence[int],
    *,
    fps: float,
    window_frames: int,
    num_frames: int,
    origin_s: float = 0.0,
) -> "tuple[Tensor, Tensor]":
    """Returns when each window starts and ends, in seconds: two (L,) float64 tensors.

    Args:
        starts: first frame of each window, as `cut_windows` gives them.
        fps: frames per second of the clock they are counted on.
        window_frames: frames in a window.
        num_frames: length of the video; a padded window ends where the video ends.
        origin_s: of the video's first frame.
    """
    import torch

    start = torch.tensor(list(starts), dtype=torch.float64)
    end = (start + window_frames).clamp(max=num_frames)
    return origin_s + start / fps, origin_s + end / fps
