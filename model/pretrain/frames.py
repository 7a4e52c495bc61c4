"""Training videos as the small encoder sees them: decoded once, with what every place shows."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from extract.contract import FeatureContract
from extract.video import Limits, stream_frames
from model.cores import one_thread_per_core
from model.data.annotations import DataRoot

UNLIMITED = Limits(max_duration_s=float("inf"), max_frames=2**62, decode_wall_s=float("inf"))


class FrameCache:
    """Every `frame_step`-th frame of each video, one array per video."""

    def __init__(self, folder: Path, data: DataRoot, contract: FeatureContract) -> None:
        """Keeps its arrays under `folder`."""
        self._folder, self._data, self._contract = folder, data, contract
        folder.mkdir(parents=True, exist_ok=True)
        self._open: dict[str, NDArray[np.uint8]] = {}

    def fill(self, videos: Sequence[str], progress: Callable[[int, int], None]) -> None:
        """Decodes videos that are not cached yet; an interrupted one is done again."""
        with one_thread_per_core() as pool:
            for done, _ in enumerate(pool.map(self._keep, videos), 1):
                progress(done, len(videos))

    def frames(self, video: str) -> NDArray[np.uint8]:
        """Returns a video's kept frames, (n, H, W, 3), mapped from disk."""
        if video not in self._open:
            self._open[video] = np.load(self._folder / f"{video}.npy", mmap_mode="r")
        return self._open[video]

    def _keep(self, video: str) -> None:
        path = self._folder / f"{video}.npy"
        if not path.is_file():
            part = path.with_suffix(".part")
            with part.open("wb") as file:
                np.save(file, self._decode(video))
            part.rename(path)

    def _decode(self, video: str) -> NDArray[np.uint8]:
        step, seen = self._contract.frame_step, 0
        kept = []
        path = self._data.videos / f"{video}.mp4"
        for block in stream_frames(path, self._contract, UNLIMITED):
            kept.append(block[-seen % step :: step].copy())
            seen += len(block)
        return np.concatenate(kept)
