"""RemoteEncoder: a `VideoEncoder` whose network is in other processes, some of which may die.

The engine calls it as it calls any encoder, from the one thread that owns the model.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Protocol

import ray
import torch
from ray import exceptions as ray_errors
from ray.serve.exceptions import (
    BackPressureError,
    DeploymentUnavailableError,
    RequestCancelledError,
)
from torch import Tensor

from extract.contract import FeatureContract
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
"""Nothing is wrong with the call: its process, or the way to it, is gone."""

LEAST_PART = 4
"""Windows below which a batch is not shared out any further: a call has its price, too."""

TAKEN_S = 0.5
"""Longest wait until a replica takes a part: milliseconds, or there is none. A call that nobody has
taken yet counts for nothing where the next one is routed: after ten idle seconds, when Serve has
forgotten how busy its replicas are, two at once went to the same one every other time."""

ATTEMPTS = 2
"""In which the time is divided: who does not answer within a share is taken to hang."""

PAUSE_S = 0.1
"""Before what failed is tried once more."""

IMPATIENT_S = 1.0
"""How long to try, after a batch that found nobody, until one is answered again."""


class Response(Protocol):
    """What a call on a deployment's handle gives at once."""

    def result(self, *, timeout_s: float | None = None) -> Any:
        """Waits for the answer."""

    def cancel(self) -> None:
        """Gives it up."""

    def _to_object_ref_sync(self, _timeout_s: float | None = None) -> Any:
        """Waits until a replica has taken the call."""


Ask = Callable[[], Response]


class EncoderPool:
    """The replicas behind a handle, as one that answers or says in time that it cannot."""

    def __init__(self, handle: Any, *, shares: int, patience_s: float) -> None:
        """Calls nobody yet.

        Args:
            handle: of the `Encoder` deployment.
            shares: parts that a batch is divided into, one for each replica.
            patience_s: longest time for a batch, those calls included that were lost.
        """
        self._handle = handle
        self._shares = shares
        self._patience_s = patience_s
        self._is_lost = False

    def describe(self, sha256: str) -> EncoderFacts:
        """Returns what the encoder of a bundle is, once a replica has it.

        Raises:
            EncoderLost: none has, in time.
        """
        until_s = time.monotonic() + self._patience_s
        found = self._settle(ask := partial(self._handle.describe.remote, sha256), ask(), until_s)
        assert isinstance(found, EncoderFacts)
        return found

    def encode(self, windows: Tensor, facts: EncoderFacts) -> Tensor:
        """Returns features, (n, D_in) float32, of (n, T, H, W, 3) uint8 windows.

        Raises:
            EncoderLost: no replica with this bundle answers in time.
            OutOfMemory: not even half a batch fits a replica's device.
            QueueFull: the replicas have more to do than they may.
        """
        patience_s = min(self._patience_s, IMPATIENT_S) if self._is_lost else self._patience_s
        until_s = time.monotonic() + patience_s
        parts = windows.split(max(LEAST_PART, -(-len(windows) // self._shares)))
        try:
            # The first replica works while the next one's windows are still being copied.
            begun = [self._begin(part, facts.sha256, until_s) for part in parts]
            answers = [self._settle(ask, response, until_s) for ask, response in begun]
        except EncoderLost:
            self._is_lost = True
            raise
        except ray_errors.ObjectStoreFullError as error:
            raise QueueFull from error
        self._is_lost = False
        return torch.cat([_rows(answer, facts) for answer in answers])

    def _begin(self, part: Tensor, sha256: str, until_s: float) -> tuple[Ask, Response]:
        """Returns once a replica has taken the part, so that the next part goes to another one."""
        response = (ask := self._ask(part, sha256))()
        left_s = max(0.0, until_s - time.monotonic())
        with suppress(TimeoutError, BackPressureError, *LOST):  # `_settle` will meet it again
            response._to_object_ref_sync(_timeout_s=min(left_s, TAKEN_S))
        return ask, response

    def _ask(self, part: Tensor, sha256: str) -> Ask:
        # Put once: every attempt sends the same reference, and what it refers to is ours.
        shared = ray.put(part.numpy())
        return partial(self._handle.encode.remote, shared, sha256)

    def _settle(self, ask: Ask, response: Response, until_s: float) -> Any:
        """Returns the answer of whichever replica gives one."""
        share_s = self._patience_s / ATTEMPTS
        while True:
            try:
                left_s = max(0.0, until_s - time.monotonic())
                answer = response.result(timeout_s=min(left_s, share_s))
            except BackPressureError as error:
                raise QueueFull from error
            except TimeoutError:
                response.cancel()
                why = "it does not answer"
            except LOST as error:
                why = type(error).__name__
            else:
                if not (isinstance(answer, Failed) and answer.why == "other-bundle"):
                    return answer
                why = answer.detail
            if time.monotonic() + PAUSE_S >= until_s:
                raise EncoderLost("no encoder answers; try again later")
            logger.warning("asking another encoder: %s", why)
            time.sleep(PAUSE_S)
            response = ask()


class RemoteEncoder:
    """Stands where the bundle's encoder stood."""

    def __init__(self, pool: EncoderPool, facts: EncoderFacts) -> None:
        """Takes the place of an encoder.

        Args:
            pool: who encodes.
            facts: what they have to be.
        """
        self._pool, self._facts = pool, facts

    @property
    def name(self) -> str:
        """What the bundle and the answers call it."""
        return self._facts.name

    @property
    def dim(self) -> int:
        """Numbers in one feature vector, D_in."""
        return self._facts.dim

    @property
    def contract(self) -> FeatureContract:
        """How its windows have to be made."""
        return self._facts.contract

    @property
    def fingerprint(self) -> str:
        """Hash of weights, configuration and contract."""
        return self._facts.fingerprint

    def encode(self, windows: Tensor) -> Tensor:
        """Returns features, (B, dim) float32, made by whichever replicas are there.

        Args:
            windows: (B, T, H, W, 3) uint8.

        Raises:
            EncoderLost, OutOfMemory, QueueFull: as the pool's `encode` does.
        """
        return self._pool.encode(windows, self._facts)


def load_predictor(bundle: Place, pool: EncoderPool) -> Predictor:
    """Loads everything of a bundle but its encoder, which the pool stands for.

    Raises:
        WeightsError: there is no bundle, or it cannot be trusted.
        EncoderLost: no replica has this bundle in time.
        FeatureMismatch: the replicas' encoder makes other features.
    """
    loaded = load_bundle(bundle)
    facts = pool.describe(loaded.sha256)
    encoder = RemoteEncoder(pool, facts)
    if loaded.manifest.encoder.get("kind") == "features":
        return Predictor(loaded, encoder=encoder)
    predictor = Predictor(loaded)
    own = predictor.encoder
    if own.fingerprint != facts.fingerprint:
        raise FeatureMismatch(
            f"this bundle's encoder is {own.name} {own.fingerprint[:12]}, "
            f"the replicas' is {facts.name} {facts.fingerprint[:12]}"
        )
    predictor.encoder = encoder  # the network itself goes
    return predictor


def _rows(answer: Any, facts: EncoderFacts) -> Tensor:
    match answer:
        case Encoded():
            made_by = (answer.sha256, answer.fingerprint)
            if made_by != (facts.sha256, facts.fingerprint):
                raise RuntimeError(f"asked for features of {facts}, got those of {made_by}")
            return torch.tensor(answer.rows)
        case Failed("out-of-memory"):
            raise OutOfMemory("the device has too little memory for the batch")
        case _:
            raise RuntimeError(f"an encoder failed: {answer}")
