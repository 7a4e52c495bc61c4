"""Encoder cache of a replica: the encoders of the newest bundle and of the one before it.

Front ends and encoders switch bundles at different times, and a request ends with the bundle it
started with. So every call names its bundle, and two are kept.
"""

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from extract.encoders.encoder import VideoEncoder
from extract.runtime.frame_batches import batch_encoder
from extract.windows import placed_windows
from model.predict.predictor import Predictor
from server.cluster.messages import Encoded, EncoderFacts, Failed
from server.scheduling.out_of_memory import is_out_of_memory, run_rows_or_split

KEPT = 2
"""Number of bundles: the newest, and the one that running requests started with."""

TOLERANCE = 1e-2
"""Tolerance, absolute and relative, of a canary's features; half precision needs it."""


@dataclass(frozen=True, eq=False)
class Item:
    """Windows of one clip, as `share_frames` returns them.

    Attributes:
        frames: (n, H, W, 3), each once.
        places: (L, T), the frames of every window.
        sha256: of the bundle to encode for.
        cost: size in a batch.
    """

    frames: np.ndarray
    places: np.ndarray
    sha256: str
    cost: int


def cost_of(items: list[Item]) -> int:
    """Returns the size of a batch in windows."""
    return sum(item.cost for item in items)


class EncoderCache:
    """Encoders by bundle; all methods but `add` run on the thread that owns the device."""

    def __init__(self) -> None:
        self._kept: dict[str, _TestedEncoder] = {}  # the newest last
        self._lock = threading.Lock()

    def add(self, predictor: Predictor) -> EncoderFacts:
        """Tests a new encoder, then makes it available to calls.

        Raises:
            RuntimeError: its features are not finite or of the wrong shape.
        """
        encoder = predictor.encoder
        facts = EncoderFacts(
            predictor.sha256, encoder.name, encoder.dim, encoder.contract, encoder.fingerprint
        )
        tested = _TestedEncoder(encoder, facts)
        with self._lock:
            self._kept.pop(facts.sha256, None)
            self._kept[facts.sha256] = tested
            while len(self._kept) > KEPT:
                del self._kept[next(iter(self._kept))]
        return facts

    def facts(self, sha256: str) -> EncoderFacts | Failed:
        """Returns the properties of a bundle's encoder."""
        tested = self._kept.get(sha256)
        return self._unknown(sha256) if tested is None else tested.facts

    def prove(self) -> None:
        """Runs the canary on the newest encoder and compares the features with its first ones.

        Raises:
            RuntimeError: they differ.
        """
        next(reversed(self._kept.values())).prove()

    def run(
        self, items: Sequence[Item], *, max_windows: int, on_out_of_memory: Callable[[], None]
    ) -> list[Encoded | Failed]:
        """Returns a result for every item; items of one bundle and frame size are batched.

        Args:
            items: windows of any callers.
            max_windows: most windows in one call.
            on_out_of_memory: called each time.
        """
        results: dict[int, Encoded | Failed] = {}
        alike: dict[tuple[str, tuple[int, ...]], list[int]] = {}
        for index, item in enumerate(items):
            alike.setdefault((item.sha256, item.frames.shape[1:]), []).append(index)
        for (sha256, _), places in alike.items():
            tested = self._kept.get(sha256)
            mine = [items[index] for index in places]
            found = (
                [self._unknown(sha256)] * len(mine)
                if tested is None
                else tested.run(mine, max_windows, on_out_of_memory)
            )
            results |= dict(zip(places, found, strict=True))
        return [results[index] for index in range(len(items))]

    def _unknown(self, sha256: str) -> Failed:
        have = ", ".join(kept[:12] for kept in self._kept)
        return Failed("other-bundle", f"asked for {sha256[:12]}, have {have}")


class _TestedEncoder:
    """An encoder that has passed its first canary, and the features of that canary."""

    def __init__(self, encoder: VideoEncoder, facts: EncoderFacts) -> None:
        self.facts = facts
        self._encoder, self._encode_batch = encoder, batch_encoder(encoder)
        contract = facts.contract
        shape = (
            *(1, contract.window_frames // contract.frame_step),
            *(contract.crop_height, contract.crop_width, 3),
        )
        ramp = torch.arange(math.prod(shape)) % 251  # no multiple of a row, so that frames differ
        self._canary = ramp.to(torch.uint8).reshape(shape)
        self._first = encoder.encode(self._canary).cpu()
        if self._first.shape != (1, facts.dim) or not self._first.isfinite().all():
            raise RuntimeError(f"{facts.name} returns {tuple(self._first.shape)}, no finite row")

    def prove(self) -> None:
        rows = self._encoder.encode(self._canary).cpu()
        if not torch.allclose(rows, self._first, rtol=TOLERANCE, atol=TOLERANCE):
            raise RuntimeError(f"{self.facts.name} encodes the canary differently than before")

    def run(
        self, items: Sequence[Item], max_windows: int, on_out_of_memory: Callable[[], None]
    ) -> list[Encoded | Failed]:
        """Encodes all in one batch; if that fails, each alone, so that only faulty items fail."""
        try:
            rows = self._rows(items, max_windows, on_out_of_memory)
        except Exception as error:  # becomes the result of its item
            if len(items) == 1:
                return [
                    Failed("out-of-memory" if is_out_of_memory(error) else "fault", repr(error))
                ]
            return [self.run([item], max_windows, on_out_of_memory)[0] for item in items]
        counts = [len(item.places) for item in items]
        return [
            Encoded(part.numpy(), self.facts.sha256, self.facts.fingerprint)
            for part in rows.split(counts)
        ]

    def _rows(
        self, items: Sequence[Item], max_windows: int, on_out_of_memory: Callable[[], None]
    ) -> Tensor:
        windows = [window for item in items for window in placed_windows(item.frames, item.places)]
        return torch.cat(
            [
                run_rows_or_split(
                    lambda part: self._encode_batch(part).cpu(),
                    windows[first : first + max_windows],
                    on_out_of_memory,
                )
                for first in range(0, len(windows), max_windows)
            ]
        )
