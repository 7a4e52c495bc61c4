"""The bundles that an encoder process can encode for: the newest, and the one before it.

A front end learns of a new bundle sooner or later than an encoder does, and a request is finished
with the bundle it began with. So every call names its bundle, and two are kept.
"""

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from extract.encoders.encoder import VideoEncoder
from model.predict.predictor import Predictor
from server.cluster.messages import Encoded, EncoderFacts, Failed
from server.scheduling.out_of_memory import is_out_of_memory, run_rows_or_split

KEPT = 2
"""Bundles: the newest, and the one that requests still inside began with."""

TOLERANCE = 1e-2
"""How far, relative to its size, a canary's answer may be from its first: half precision is."""


@dataclass(frozen=True, eq=False)
class Item:
    """A part of a clip.

    Attributes:
        windows: (n, T, H, W, 3) uint8.
        sha256: of the bundle to encode for.
        cost: windows, as far as a batch is concerned.
    """

    windows: np.ndarray
    sha256: str
    cost: int


def cost_of(items: list[Item]) -> int:
    """Returns the windows in a batch."""
    return sum(item.cost for item in items)


class Encoders:
    """Encoders by bundle; all but `add` runs on the one thread that owns the device."""

    def __init__(self) -> None:
        self._kept: dict[str, _Proven] = {}  # the newest last
        self._lock = threading.Lock()

    def add(self, predictor: Predictor) -> EncoderFacts:
        """Proves a new encoder, then lets calls have it; what is being served stays until then.

        Raises:
            RuntimeError: its answers are no numbers.
        """
        facts = facts_of(predictor)
        proven = _Proven(predictor.encoder, facts)
        with self._lock:
            self._kept.pop(facts.sha256, None)
            self._kept[facts.sha256] = proven
            while len(self._kept) > KEPT:
                del self._kept[next(iter(self._kept))]
        return facts

    def facts(self, sha256: str) -> EncoderFacts | Failed:
        """Returns what a bundle's encoder is."""
        proven = self._kept.get(sha256)
        return self._unknown(sha256) if proven is None else proven.facts

    def prove(self) -> None:
        """Asks the newest encoder what it was asked first, and expects the same answer.

        Raises:
            RuntimeError: it answers something else.
        """
        proven = next(reversed(self._kept.values()))
        proven.prove()

    def run(
        self, items: Sequence[Item], *, max_windows: int, on_out_of_memory: Callable[[], None]
    ) -> list[Encoded | Failed]:
        """Returns an answer to every item; those of one bundle and frame size go together.

        Args:
            items: parts of clips of any callers.
            max_windows: most windows in one call.
            on_out_of_memory: told each time.
        """
        answers: dict[int, Encoded | Failed] = {}
        alike: dict[tuple[str, tuple[int, ...]], list[int]] = {}
        for index, item in enumerate(items):
            alike.setdefault((item.sha256, item.windows.shape[1:]), []).append(index)
        for (sha256, _), places in alike.items():
            proven = self._kept.get(sha256)
            mine = [items[index] for index in places]
            found = (
                [self._unknown(sha256)] * len(mine)
                if proven is None
                else proven.answer(mine, max_windows, on_out_of_memory)
            )
            answers |= dict(zip(places, found, strict=True))
        return [answers[index] for index in range(len(items))]

    def _unknown(self, sha256: str) -> Failed:
        have = ", ".join(kept[:12] for kept in self._kept)
        return Failed("other-bundle", f"asked for {sha256[:12]}, have {have}")


def facts_of(predictor: Predictor) -> EncoderFacts:
    """Returns what a predictor's encoder is."""
    encoder = predictor.encoder
    return EncoderFacts(
        predictor.sha256, encoder.name, encoder.dim, encoder.contract, encoder.fingerprint
    )


class _Proven:
    """An encoder that has answered once, and what it said."""

    def __init__(self, encoder: VideoEncoder, facts: EncoderFacts) -> None:
        self.facts = facts
        self._encoder = encoder
        contract = facts.contract
        shape = (
            *(1, contract.window_frames // contract.frame_step),
            *(contract.crop_height, contract.crop_width, 3),
        )
        ramp = torch.arange(math.prod(shape)) % 251  # no multiple of a row: it moves
        self._canary = ramp.to(torch.uint8).reshape(shape)
        self._first = encoder.encode(self._canary).cpu()
        if self._first.shape != (1, facts.dim) or not self._first.isfinite().all():
            raise RuntimeError(f"{facts.name} answers {tuple(self._first.shape)}, no finite row")

    def prove(self) -> None:
        answer = self._encoder.encode(self._canary).cpu()
        if not torch.allclose(answer, self._first, rtol=TOLERANCE, atol=TOLERANCE):
            raise RuntimeError(f"{self.facts.name} answers the canary otherwise than before")

    def answer(
        self, items: Sequence[Item], max_windows: int, on_out_of_memory: Callable[[], None]
    ) -> list[Encoded | Failed]:
        """One call for all; if that fails, each alone, and only those at fault fail."""
        try:
            rows = self._rows(items, max_windows, on_out_of_memory)
        except Exception as error:  # whatever it is, it is the answer to its item
            if len(items) == 1:
                return [
                    Failed("out-of-memory" if is_out_of_memory(error) else "fault", repr(error))
                ]
            return [self.answer([item], max_windows, on_out_of_memory)[0] for item in items]
        counts = [len(item.windows) for item in items]
        return [
            Encoded(part.numpy(), self.facts.sha256, self.facts.fingerprint)
            for part in rows.split(counts)
        ]

    def _rows(
        self, items: Sequence[Item], max_windows: int, on_out_of_memory: Callable[[], None]
    ) -> Tensor:
        # Copied: what comes through shared memory is read-only, and torch warns of that.
        windows = torch.from_numpy(np.concatenate([item.windows for item in items]))
        return torch.cat(
            [
                run_rows_or_split(
                    lambda part: self._encoder.encode(part).cpu(), part, on_out_of_memory
                )
                for part in windows.split(max_windows)
            ]
        )
