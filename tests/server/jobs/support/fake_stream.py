"""A long video that is a line of text, as `FakePool` reads it, given a few windows at a time."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from extract.contract import FeatureContract
from extract.decode.clip import Prepare, StreamFacts
from extract.errors import DecoderDied
from extract.windows import FrameWindow, clip_windows
from server.settings.settings import Settings
from tests.server.support.fakes import FakePool, make_clip


class FakeStream:
    """Stands in for `VideoStream`; `slow SECONDS` is slow between batches."""

    def __init__(
        self,
        path: Path,
        contract: FeatureContract,
        settings: Settings,
        video_track: int | None = None,
        prepare: Prepare | None = None,
    ) -> None:
        words = path.read_bytes().split()
        self._pause_s = float(words[1]) if words[:1] == [b"slow"] else 0.0
        self._stopped = threading.Event()
        self._clip: Any = make_clip(60, 100) if self._pause_s else FakePool().decode(path, contract)
        self._windows = clip_windows(self._clip.frames, contract)
        self.num_windows = len(self._windows)
        self.num_frames = len(self._clip.frames)
        self.facts = StreamFacts(self._clip.info, self._clip.source_frames, self._clip.notices)

    def batches(self) -> Iterator[list[FrameWindow]]:
        for window in self._windows:
            if self._stopped.wait(self._pause_s):
                raise DecoderDied("it was stopped")
            yield [window]

    def stop(self) -> None:
        self._stopped.set()

    def close(self) -> None:
        pass
