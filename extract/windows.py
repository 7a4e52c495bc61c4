"""Sliding windows over a video's frames: where they start, when, and cutting them from a stream.

Windows are cut as those of Ego4D's published features; frames are counted on the contract's clock.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Generic, TypeVar

import numpy as np

from extract.contract import OMNIVORE, FeatureContract
from extract.errors import VideoRejected

Frame = TypeVar("Frame")

NumberedFrame = tuple[int, np.ndarray]
"""A frame's number, which no other frame of this process has, and the frame, (H, W, 3)."""

FrameWindow = Sequence[NumberedFrame]
"""A window, T frames. Windows that overlap hold the same frames, not copies of them."""

_numbers = count()


def cut_windows(num_frames: int, contract: FeatureContract = OMNIVORE) -> list[int]:
    """Returns the first frame of every window, in order.

    A window starts every `stride_frames` (paper Sec. 4.1: 32 frames every 16). When the last of
    them does not end on the last frame, one more window covers the last `window_frames` frames,
    so its start need not be a multiple of the stride. A video shorter than a window has one, at 0.

    Raises:
        ValueError: a length is below one.
    """
    window, stride = contract.window_frames, contract.stride_frames
    if min(num_frames, window, stride) < 1:
        raise ValueError(f"expected at least one frame, got {num_frames=}, {window=}, {stride=}")
    last_start = max(0, num_frames - window)
    starts = list(range(0, last_start + 1, stride))
    if starts[-1] != last_start:
        starts.append(last_start)
    return starts


def count_windows(num_frames: int, contract: FeatureContract = OMNIVORE) -> int:
    """Returns how many windows `cut_windows` returns, in constant time."""
    beyond = max(0, num_frames - contract.window_frames)
    return 1 + -(-beyond // contract.stride_frames)


def wanted_frames(num_frames: int, contract: FeatureContract) -> np.ndarray:
    """Returns whether any window uses each frame, (num_frames,) bool.

    With a `frame_step` of one that is every frame, unless windows lie apart. With a larger one it
    is the grid of the regular windows and that of the moved-back last one. The first frame is
    always used. A video shorter than its only window is padded with its last frame.

    Raises:
        ValueError: there is no frame.
    """
    starts = np.array(cut_windows(num_frames, contract))
    wanted = np.zeros(num_frames, dtype=bool)
    for offset in range(0, contract.window_frames, contract.frame_step):
        wanted[np.minimum(starts + offset, num_frames - 1)] = True
    return wanted


def regular_frames(contract: FeatureContract) -> frozenset[int]:
    """Returns which frames the regular windows use: numbers modulo `stride_frames`.

    Only the last window of a video, if it is moved back or padded, may use others.
    """
    offsets = range(0, contract.window_frames, contract.frame_step)
    return frozenset(offset % contract.stride_frames for offset in offsets)


def last_frames(num_frames: int, contract: FeatureContract) -> list[int]:
    """Returns the numbers of the frames that a video's last window uses, in order."""
    start = max(0, num_frames - contract.window_frames)
    offsets = range(0, contract.window_frames, contract.frame_step)
    return sorted({min(start + offset, num_frames - 1) for offset in offsets})


class WindowCutter(Generic[Frame]):
    """Cuts overlapping windows from a stream of frames of any type.

    Keeps no more frames than the next regular window or a moved-back last one can need, so memory
    does not grow with the video.

    Attributes:
        num_frames: of the video so far.

    Args:
        contract: how windows are cut.
        num_frames: of the whole video, where only those frames come that windows use; None where
            all of them do.
    """

    def __init__(self, contract: FeatureContract, num_frames: int | None = None) -> None:
        self._contract = contract
        self._wanted = None if num_frames is None else wanted_frames(num_frames, contract)
        self._kept: list[Frame] = []  # the latest frames; the first has number _first
        self._first = 0
        self._next_start = 0
        self.num_frames = 0

    def push(self, frames: Iterable[Frame]) -> Iterator[list[Frame]]:
        """Yields the windows, T frames each, that these frames complete."""
        for frame in frames:
            yield from self._take(frame)
            while self._is_next_passed_over():
                yield from self._take(frame)  # keeps its place; no window uses it

    def amend(self, back: int, frame: Frame) -> None:
        """Replaces one of the latest frames: the last one is 1 back.

        Raises:
            IndexError: it is not kept, as no window to come can have it.
        """
        self._kept[-back] = frame

    def finish(self) -> Iterator[list[Frame]]:
        """Yields what the end adds: the moved-back window, or the only, padded one.

        Raises:
            VideoRejected: no frame came.
        """
        if self.num_frames == 0:
            raise VideoRejected("too-short", "the clip has no frame")
        regular = self._next_start // self._contract.stride_frames
        missing = self._contract.window_frames - self.num_frames
        if missing > 0:
            self._kept.extend([self._kept[-1]] * missing)
        for start in cut_windows(self.num_frames, self._contract)[regular:]:
            yield self._cut(start)

    def _take(self, frame: Frame) -> Iterator[list[Frame]]:
        window = self._contract.window_frames
        self._kept.append(frame)
        self.num_frames += 1
        if self.num_frames == self._next_start + window:
            yield self._cut(self._next_start)
            self._next_start += self._contract.stride_frames
            self._forget(min(self._next_start, self.num_frames + 1 - window))

    def _is_next_passed_over(self) -> bool:
        wanted, place = self._wanted, self.num_frames
        return wanted is not None and place < len(wanted) and not wanted[place]

    def _cut(self, start: int) -> list[Frame]:
        begin = start - self._first
        return self._kept[begin : begin + self._contract.window_frames : self._contract.frame_step]

    def _forget(self, first: int) -> None:
        del self._kept[: first - self._first]
        self._first = first


def number_frames(frames: np.ndarray) -> Iterator[NumberedFrame]:
    """Yields views of frames, (n, H, W, 3), each with a number of its own."""
    for frame in frames:
        yield next(_numbers), frame


def clip_windows(
    frames: np.ndarray, contract: FeatureContract, num_frames: int | None = None
) -> list[FrameWindow]:
    """Returns all windows of a decoded clip, which share its frames; copies none.

    Arguments and errors as `stack_windows`.
    """
    cutter: WindowCutter[NumberedFrame] = WindowCutter(contract, num_frames)
    return [*cutter.push(number_frames(frames)), *cutter.finish()]


def share_frames(windows: Sequence[FrameWindow]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the frames of some windows, each once, and where each window has them.

    Returns:
        frames: (n, H, W, 3), copied.
        places: (L, T) int64, indices of frames.
    """
    frames = {number: frame for window in windows for number, frame in window}
    place_of = {number: place for place, number in enumerate(frames)}
    places = np.array([[place_of[number] for number, _ in window] for window in windows])
    return np.stack(list(frames.values())), places


def placed_windows(frames: np.ndarray, places: np.ndarray) -> list[FrameWindow]:
    """Returns windows of what `share_frames` returned; copies no frame."""
    numbered = list(number_frames(frames))
    return [[numbered[place] for place in window] for window in places.tolist()]


def stack_windows(
    frames: np.ndarray, contract: FeatureContract, num_frames: int | None = None
) -> np.ndarray:
    """Returns all windows of a decoded clip, (L, T, H, W, 3).

    Args:
        frames: (n, H, W, 3) on the contract's clock.
        contract: how windows are cut.
        num_frames: of the clip, where `frames` are those that windows use, as in a `DecodedClip`;
            None where they are all of them.

    Raises:
        VideoRejected: there is no frame.
    """
    windows = clip_windows(frames, contract, num_frames)
    return np.stack([np.stack([frame for _, frame in window]) for window in windows])
