"""Frame reader with decord (the decord2 package), for short clips whose packets it reads correctly.

Only module with decord. It decodes ahead without bound, so its whole output has to fit in memory,
and it must run in a process that can be killed.
"""

import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import av
import numpy as np

from extract.contract import FeatureContract, crop_offset, resized_size
from extract.decode.clip import Limits, Reader
from extract.decode.orientation import UPRIGHT, Orientation
from extract.decode.pyav.frame_skipping import without_skippable
from extract.decode.read_plan import PacketReport

_BLOCK_FRAMES = 32


class DecordTrouble(Exception):
    """Decord failed, or gave another number of frames: the clip has to be read with PyAV."""


@cache
def load_decord() -> ModuleType:
    """Returns the decord module, imported on the first call.

    Raises:
        ImportError: the package is decord, not decord2, which installs into the same folder; the
            older one is unpatched and follows playlists to other files.
    """
    # Its import loads every CUDA library that pip installed beside torch: 3 GB of address space
    # and half a gigabyte of memory, for a build that decodes on the CPU. So they are hidden.
    missing = object()
    nvidia = sys.modules.get("nvidia", missing)
    sys.modules["nvidia"] = None  # type: ignore[assignment]
    os.environ.setdefault("PATH", os.defpath)  # it appends to it
    try:
        import decord
    finally:
        if nvidia is missing:
            del sys.modules["nvidia"]
        else:
            sys.modules["nvidia"] = nvidia  # type: ignore[assignment]
    if not decord.__version__.startswith("3."):
        raise ImportError(
            f"expected decord2 3.x to be imported as decord, got {decord.__version__}"
        )
    module: ModuleType = decord
    return module


class DecordReader:
    """A `VideoReader` for files that passed `decord_may_read`.

    Args:
        path: the file.
        report: of its packets.
        contract: with resize "decoder".
        limits: of a frame's pixels.
        width: of the frame as shown.
        height: of the frame as shown.
        pixel_aspect: width of a stored pixel divided by its height.
        orientation: of stored pictures; a plain rotation from the container's display matrix.
    """

    def __init__(
        self,
        path: Path,
        report: PacketReport,
        contract: FeatureContract,
        limits: Limits,
        *,
        width: int,
        height: int,
        orientation: Orientation = UPRIGHT,
        pixel_aspect: float = 1.0,
    ) -> None:
        self._path = path
        self._report = report
        self._contract = contract
        self._limits = limits
        self.name: Reader = "decord"
        self.num_decoded = 0
        self.num_refused = 0
        self.num_corrupt = 0
        self.num_unplanned = 0
        self.width = width
        self.height = height
        self.orientation = orientation
        self.is_turnable = True
        self.pixel_aspect = pixel_aspect

    def frames(self, repeats: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (source frame, (crop_height, crop_width, 3) uint8) of every frame needed.

        Args:
            repeats: (n,) number of wanted ticks of each source frame.

        Raises:
            DecordTrouble: an error, or another number of frames.
        """
        resized = resized_size(self.width, self.height, self._contract)
        x, y = crop_offset(*resized, self._contract)
        rows = slice(y, y + self._contract.crop_height)
        columns = slice(x, x + self._contract.crop_width)
        for indices, block in self._blocks(repeats, *resized):
            for index, picture in zip(indices, block[:, rows, columns], strict=True):
                if repeats[index]:
                    self.num_decoded += 1
                    yield int(index), picture

    def _blocks(
        self, repeats: np.ndarray, width: int, height: int
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yields source frames and their pictures, in one contiguous pass.

        Skipping frames, decord gives wrong ones after open GOPs and where frames are not evenly
        spaced; so it reads a copy without the disposable frames.
        """
        decord = load_decord()
        errors = (decord.DECORDError, decord.DECORDLimitReachedError, RuntimeError, AssertionError)
        try:
            reduced = without_skippable(self._path, self._report, repeats, self._limits)
            indices = np.arange(len(self._report.times_s)) if reduced is None else reduced.kept
            # num_threads=0 breaks VP9; fault_tol=1 turns silently repeated frames into an error.
            reader = decord.VideoReader(
                str(self._path) if reduced is None else reduced.file,
                ctx=decord.cpu(0),
                width=width,
                height=height,
                num_threads=1,
                fault_tol=1,
            )
            if len(reader) != len(indices):
                raise DecordTrouble(f"{len(reader)} frames instead of {len(indices)}")
            for start in range(0, len(indices), _BLOCK_FRAMES):
                block = range(start, min(start + _BLOCK_FRAMES, len(indices)))
                yield indices[start : block.stop], reader.get_batch(block).asnumpy()
        except (*errors, av.error.FFmpegError) as error:
            raise DecordTrouble(type(error).__name__) from error
