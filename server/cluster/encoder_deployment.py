"""Encoder: a Ray Serve deployment that turns windows of several callers into features at once.

One thread owns the model, as in the engine. Nothing is ever raised because of one item.
"""

import asyncio
import logging
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import torch
from ray import serve

from server.api.serve import SWITCH_S
from server.cluster.encoder_cache import Encoders, Item, cost_of
from server.cluster.messages import Encoded, EncoderFacts, Failed, Tuning
from server.engine.bundle_loader import load_predictor
from server.settings.settings import Settings
from server.telemetry import logs
from weights.storage.folders import as_place

logger = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_AGAIN_S = 5.0
"""After a bundle was loaded, how long not to look for another because of who asks."""


class Encoder:
    """One replica, with a device of its own."""

    def __init__(self, settings: Settings) -> None:
        """Loads nothing yet: which bundle, `reconfigure` says, and Serve calls that first.

        Args:
            settings: which bundle by default, where and how its encoder runs.
        """
        logs.configure(settings.log_level)
        sys.setswitchinterval(SWITCH_S)
        torch.set_num_threads(settings.encoder_cpus)
        self._settings = settings
        self._encoders = Encoders()
        self._tuning: Tuning | None = None
        self._thread = ThreadPoolExecutor(1, "encoder")
        self._loading: asyncio.Task[None] | None = None
        self._max_windows = settings.max_batch_windows
        self._proved_s = self._looked_s = 0.0

    async def reconfigure(self, values: dict[str, Any]) -> None:
        """Takes other batch sizes at once, and another bundle once it has proved itself.

        The first bundle is waited for, and has to be good; a later one is loaded beside the one
        that serves, which stays if the new one fails.

        Args:
            values: of a `Tuning`.
        """
        before, self._tuning = self._tuning, Tuning(**values)
        tuning, settings = self._tuning, self._settings
        self._max_windows = tuning.max_batch_windows or settings.max_batch_windows
        wait_ms = settings.max_wait_ms if tuning.max_wait_ms is None else tuning.max_wait_ms
        self._batch.set_max_batch_size(self._max_windows)
        self._batch.set_batch_wait_timeout_s(wait_ms / 1000)
        if before is None:
            await self._load(tuning)
        elif (before.bundle, before.revision) != (tuning.bundle, tuning.revision):
            self._look_again()

    async def check_health(self) -> None:
        """Raises if a canary does not come back: Serve then puts another replica in our place."""
        if time.monotonic() - self._proved_s < self._settings.canary_every_s:
            return  # a batch, or a canary, has proved it
        async with asyncio.timeout(self._settings.canary_timeout_s):
            await self._run(self._encoders.prove)
        self._proved_s = time.monotonic()

    async def describe(self, sha256: str) -> EncoderFacts | Failed:
        """Returns what the encoder of a bundle is."""
        return self._followed(self._encoders.facts(sha256))

    async def encode(self, windows: np.ndarray, sha256: str) -> Encoded | Failed:
        """Returns the features of some windows.

        Args:
            windows: (n, T, H, W, 3) uint8; sent as a reference, so here they are shared memory.
            sha256: of the bundle the caller serves.
        """
        # An item dearer than a batch would be refused by Serve; it goes through in several calls.
        item = Item(windows, sha256, min(len(windows), self._max_windows))
        answer: Encoded | Failed = await self._batch(item)
        return self._followed(answer)

    @serve.batch(max_batch_size=64, max_concurrent_batches=1, batch_size_fn=cost_of)  # type: ignore[untyped-decorator]
    async def _batch(self, items: list[Item]) -> list[Encoded | Failed]:
        answers: list[Encoded | Failed] = await self._run(
            lambda: self._encoders.run(
                items, max_windows=self._max_windows, on_out_of_memory=self._shrink
            )
        )
        if any(isinstance(answer, Encoded) for answer in answers):
            self._proved_s = time.monotonic()
        return answers

    def _shrink(self) -> None:
        """Runs on the owner thread."""
        self._proved_s = 0.0  # a canary, soon
        self._max_windows = max(1, self._max_windows // 2)
        logger.warning("out of memory: at most %d windows a call now", self._max_windows)

    async def _load(self, tuning: Tuning) -> None:
        settings = self._settings
        if tuning.bundle is not None:
            settings = settings.model_copy(update={"bundle": as_place(tuning.bundle)})
        thread = ThreadPoolExecutor(1, "load")
        try:
            facts = await asyncio.get_running_loop().run_in_executor(
                thread, lambda: self._encoders.add(load_predictor(settings))
            )
        finally:
            thread.shutdown(wait=False)
        self._proved_s = time.monotonic()
        logger.info("encoding for bundle %s with %s", facts.sha256[:12], facts.name)

    def _followed(self, answer: T) -> T:
        """Returns the answer; if it is that we lack a bundle, sees whether it lies there by now.

        Whoever asks has verified it. So encoders need not be told of a new bundle, and one that
        was busy when it came gets it, too.
        """
        is_unknown = isinstance(answer, Failed) and answer.why == "other-bundle"
        if is_unknown and time.monotonic() - self._looked_s > LOOK_AGAIN_S:
            self._look_again()
        return answer

    def _look_again(self) -> None:
        """Loads whatever lies there now beside what serves, unless that is under way."""
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._load_beside())

    async def _load_beside(self) -> None:
        assert self._tuning is not None
        try:
            await self._load(self._tuning)
        except Exception as error:  # whatever it is, the old bundle is still good
            logger.error("the bundle was not loaded: %s", error, exc_info=error)
        self._looked_s = time.monotonic()

    async def _run(self, work: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
