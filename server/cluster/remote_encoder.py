"""Remote encoder: a `VideoEncoder` whose network runs in Ray Serve replicas, with retries.

The engine calls it like any encoder, from the thread that owns the model.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import ray
import torch
from ray import exceptions as ray_errors
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    RequestCancelledError,
)
from ray.serve.handle import DeploymentResponse
from torch import Tensor

from extract.encoders.torch_encoder import TorchEncoder, TrunkConfig
from extract.windows import FrameWindow, number_frames, share_frames
from model.errors import FeatureMismatch
from model.predict.predictor import Predictor
from server.cluster.messages import Encoded, EncoderFacts, Failed
from server.errors import EncoderLost, OutOfMemory, QueueFull
from weights.bundle import load_bundle
from weights.storage.folders import Place

logger = logging.getLogger(__name__)

LOST = (
    ray_errors.RayActorError,
    ray_errors.WorkerCrashedError,
    ray_errors.NodeDiedError,
    ray_errors.ObjectLostError,
    ray_errors.RaySystemError,
    DeploymentUnavailableError,
    RequestCancelledError,
)
"""Errors of a replica or the connection to it, after which the call is retried."""

MIN_PART_WINDOWS = 4
"""Fewest windows in a part of a batch, because every call has an overhead."""

ROUTING_S = 0.5
"""Longest wait for a part to be assigned to a replica, which takes milliseconds if there is one.
Serve's router ignores calls that are not assigned yet: after ten idle seconds, two calls at once
went to the same replica every other time."""

ATTEMPTS = 2
"""Attempts per call, each with an equal share of the time; then its replica counts as hung."""

PAUSE_S = 0.1
"""Seconds before a retry."""

LOST_TIMEOUT_S = 1.0
"""Timeout after a batch that no replica completed, until one is completed again."""


Call = Callable[[], DeploymentResponse]


class EncoderPool:
    """The replicas behind a handle, called with a timeout and retries."""

    def __init__(self, handle: Any, *, shares: int, timeout_s: float) -> None:
        """Makes no call yet.

        Args:
            handle: of the `Encoder` deployment.
            shares: parts that a batch is split into, one per replica.
            timeout_s: longest time for a batch, retries included.
        """
        self._handle = handle
        self._shares = shares
        self._timeout_s = timeout_s
        self._is_lost = False

    def describe(self, sha256: str) -> EncoderFacts:
        """Returns the properties of a bundle's encoder, once a replica has loaded it.

        Raises:
            EncoderLost: none has in time.
        """
        until_s = time.monotonic() + self._timeout_s
        call = partial(self._handle.describe.remote, sha256)
        found = self._result(call, call(), until_s)
        assert isinstance(found, EncoderFacts)
        return found

    def encode(self, windows: Sequence[FrameWindow], facts: EncoderFacts) -> Tensor:
        """Returns features, (L, D_in) float32; each frame of a part is sent once.

        Raises:
            EncoderLost: no replica with this bundle responds in time.
            OutOfMemory: a replica's device has too little memory even for half a batch.
            QueueFull: the replicas' queues are full.
        """
        timeout_s = min(self._timeout_s, LOST_TIMEOUT_S) if self._is_lost else self._timeout_s
        until_s = time.monotonic() + timeout_s
        most = max(MIN_PART_WINDOWS, -(-len(windows) // self._shares))
        parts = [windows[first : first + most] for first in range(0, len(windows), most)]
        try:
            # The first replica starts while the next one's windows are still being copied.
            started = [self._start(part, facts.sha256, until_s) for part in parts]
            results = [self._result(call, response, until_s) for call, response in started]
        except EncoderLost:
            self._is_lost = True
            raise
        except ray_errors.ObjectStoreFullError as error:
            raise QueueFull from error
        self._is_lost = False
        return torch.cat([_rows(result, facts) for result in results])

    def _start(
        self, part: Sequence[FrameWindow], sha256: str, until_s: float
    ) -> tuple[Call, DeploymentResponse]:
        """Returns once a part is assigned to a replica, so that the next one goes to another."""
        frames, places = share_frames(part)
        shared = ray.put(frames)  # once: every attempt sends the same reference
        response = (call := partial(self._handle.encode.remote, shared, places, sha256))()
        left_s = max(0.0, until_s - time.monotonic())
        with suppress(TimeoutError, BackPressureError, *LOST):  # raised again in `_result`
            response._to_object_ref_sync(_timeout_s=min(left_s, ROUTING_S))
        return call, response

    def _result(self, call: Call, response: DeploymentResponse, until_s: float) -> Any:
        """Returns the result of a call, after retries."""
        share_s = self._timeout_s / ATTEMPTS
        while True:
            try:
                left_s = max(0.0, until_s - time.monotonic())
                result = response.result(timeout_s=min(left_s, share_s))
            except BackPressureError as error:
                raise QueueFull from error
            except TimeoutError:
                response.cancel()
                why = "it does not respond"
            except LOST as error:
                why = type(error).__name__
            else:
                if not (isinstance(result, Failed) and result.why == "other-bundle"):
                    return result
                why = result.detail
            if time.monotonic() + PAUSE_S >= until_s:
                raise EncoderLost("no encoder answers; try again later")
            logger.warning("calling another encoder: %s", why)
            time.sleep(PAUSE_S)
            response = call()


class RemoteEncoder:
    """Replaces the bundle's encoder by the replicas of a pool."""

    def __init__(
        self, pool: EncoderPool, facts: EncoderFacts, config: TrunkConfig | None = None
    ) -> None:
        """Takes the properties of the replicas' encoder.

        Args:
            pool: the replicas.
            facts: which encoder they must have.
            config: of its network, which prepares whole frames here; None where it takes none.
        """
        self._pool, self._facts, self._config = pool, facts, config
        self.name, self.dim = facts.name, facts.dim
        self.contract, self.fingerprint = facts.contract, facts.fingerprint

    def prepare(self, frames: np.ndarray) -> np.ndarray:
        """See `FramePreparer`.

        Raises:
            TypeError: nothing here knows how.
        """
        if self._config is None:
            raise TypeError(f"frames for encoder {self.name!r} cannot be prepared here")
        return self._config.prepare(frames)

    def encode(self, windows: Tensor) -> Tensor:
        """Returns features, (B, dim) float32, made by the replicas.

        Args:
            windows: (B, T, H, W, 3) frames, see `VideoEncoder`.

        Raises:
            EncoderLost, OutOfMemory, QueueFull: as the pool's `encode` does.
        """
        return self.encode_windows([list(number_frames(window.numpy())) for window in windows])

    def encode_windows(self, windows: Sequence[FrameWindow]) -> Tensor:
        """See `WindowsEncoder`; errors as `encode`."""
        return self._pool.encode(windows, self._facts)


def load_predictor(bundle: Place, pool: EncoderPool) -> Predictor:
    """Loads a bundle with the pool as its encoder.

    Raises:
        WeightsError: the bundle is missing or corrupt.
        EncoderLost: no replica has loaded this bundle in time.
        FeatureMismatch: the replicas' encoder makes other features.
    """
    loaded = load_bundle(bundle)
    facts = pool.describe(loaded.sha256)
    if loaded.manifest.encoder.get("kind") == "features":
        if facts.contract.is_whole:
            raise FeatureMismatch(
                f"{facts.name} takes whole frames, which front ends cannot prepare without it: "
                "serve a bundle that holds it, or in one process"
            )
        return Predictor(loaded, encoder=RemoteEncoder(pool, facts))
    predictor = Predictor(loaded)
    own = predictor.encoder
    if own.fingerprint != facts.fingerprint:
        raise FeatureMismatch(
            f"this bundle's encoder is {own.name} {own.fingerprint[:12]}, "
            f"the replicas' is {facts.name} {facts.fingerprint[:12]}"
        )
    config = own.config if isinstance(own, TorchEncoder) else None
    predictor.encoder = RemoteEncoder(pool, facts, config)  # frees the local network
    return predictor


def _rows(result: Any, facts: EncoderFacts) -> Tensor:
    match result:
        case Encoded():
            made_by = (result.sha256, result.fingerprint)
            if made_by != (facts.sha256, facts.fingerprint):
                raise RuntimeError(f"asked for features of {facts}, got those of {made_by}")
            return torch.tensor(result.rows)
        case Failed("out-of-memory"):
            raise OutOfMemory("the device has too little memory for the batch")
        case _:
            raise RuntimeError(f"an encoder failed: {result}")
