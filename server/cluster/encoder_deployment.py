"""Encoder deployment (Ray Serve): micro-batches windows of several callers into features.

One thread owns the model, as in the engine. A faulty item fails alone, as a value.
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
from server.cluster.encoder_cache import EncoderCache, Item, cost_of
from server.cluster.messages import Encoded, EncoderFacts, Failed, Tuning
from server.engine.bundle_loader import load_predictor
from server.scheduling.daemon_thread import run_in_daemon_thread
from server.settings.settings import Settings
from server.telemetry import logs
from weights.storage.folders import as_place

logger = logging.getLogger(__name__)

T = TypeVar("T")

MIN_RELOAD_S = 5.0
"""Shortest time between two reloads caused by calls for an unknown bundle, in seconds."""


class Encoder:
    """One replica, with a device of its own."""

    def __init__(self, settings: Settings) -> None:
        """Loads nothing yet: Serve calls `reconfigure` first, which names the bundle.

        Args:
            settings: default bundle, device and runtime of its encoder.
        """
        logs.configure(settings.log_level)
        sys.setswitchinterval(SWITCH_S)
        torch.set_num_threads(settings.encoder_cpus)
        self._settings = settings
        self._encoders = EncoderCache()
        self._tuning: Tuning | None = None
        self._thread = ThreadPoolExecutor(1, "encoder")
        self._loading: asyncio.Task[None] | None = None
        self._max_windows = settings.max_batch_windows
        self._proved_s = self._reloaded_s = 0.0

    async def reconfigure(self, values: dict[str, Any]) -> None:
        """Applies batch sizes at once, and another bundle once it has passed its canary.

        The first bundle is loaded before this returns; a later one in the background, and the old
        one stays if that fails.

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
            self._reload()

    async def check_health(self) -> None:
        """Raises if the canary fails: Serve then replaces this replica."""
        if time.monotonic() - self._proved_s < self._settings.canary_every_s:
            return  # a batch or canary has succeeded since
        async with asyncio.timeout(self._settings.canary_timeout_s):
            await self._run(self._encoders.prove)
        self._proved_s = time.monotonic()

    async def describe(self, sha256: str) -> EncoderFacts | Failed:
        """Returns the properties of a bundle's encoder."""
        return self._reload_if_unknown(self._encoders.facts(sha256))

    async def encode(self, frames: np.ndarray, places: np.ndarray, sha256: str) -> Encoded | Failed:
        """Returns the features of some windows; see `share_frames`.

        Args:
            frames: (n, H, W, 3), in shared memory.
            places: (L, T), the frames of every window.
            sha256: of the bundle the caller serves.
        """
        # Serve refuses items larger than a batch; the cache splits these into several calls.
        item = Item(frames, places, sha256, min(len(places), self._max_windows))
        result: Encoded | Failed = await self._batch(item)
        return self._reload_if_unknown(result)

    @serve.batch(max_batch_size=64, max_concurrent_batches=1, batch_size_fn=cost_of)  # type: ignore[untyped-decorator]
    async def _batch(self, items: list[Item]) -> list[Encoded | Failed]:
        results: list[Encoded | Failed] = await self._run(
            lambda: self._encoders.run(
                items, max_windows=self._max_windows, on_out_of_memory=self._shrink
            )
        )
        if any(isinstance(result, Encoded) for result in results):
            self._proved_s = time.monotonic()
        return results

    def _shrink(self) -> None:
        """Halves the batch size; runs on the model's thread."""
        self._proved_s = 0.0  # the next health check runs a canary
        self._max_windows = max(1, self._max_windows // 2)
        logger.warning("out of memory: at most %d windows a call now", self._max_windows)

    async def _load(self, tuning: Tuning) -> None:
        settings = self._settings
        if tuning.bundle is not None:
            settings = settings.model_copy(update={"bundle": as_place(tuning.bundle)})
        facts = await run_in_daemon_thread(
            "load", lambda: self._encoders.add(load_predictor(settings))
        )
        self._proved_s = time.monotonic()
        logger.info("encoding for bundle %s with %s", facts.sha256[:12], facts.name)

    def _reload_if_unknown(self, result: T) -> T:
        """Returns the result, after starting a reload if it is that the bundle is unknown.

        The caller has verified that bundle, so encoders need no notice of a new one.
        """
        is_unknown = isinstance(result, Failed) and result.why == "other-bundle"
        if is_unknown and time.monotonic() - self._reloaded_s > MIN_RELOAD_S:
            self._reload()
        return result

    def _reload(self) -> None:
        """Loads the bundle again in the background, unless a reload is running."""
        if self._loading is None or self._loading.done():
            self._loading = asyncio.create_task(self._load_in_background())

    async def _load_in_background(self) -> None:
        assert self._tuning is not None
        try:
            await self._load(self._tuning)
        except Exception as error:  # the old bundle stays in use
            logger.error("the bundle was not loaded: %s", error, exc_info=error)
        self._reloaded_s = time.monotonic()

    async def _run(self, work: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
