"""Bundle loader: the bundle on disk -> a predictor, and hot reload of another bundle.

A reload loads the new predictor beside the one being served, and switches to it only after it
has answered the canary clip.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Literal, TypeVar

from extract.encoders.load import load_named_encoder
from extract.encoders.precomputed import PrecomputedFeatures
from extract.features.extractor import track_from
from extract.runtime.choose import Runtime, choose_encoder
from extract.runtime.frame_batches import batch_encoder
from model.predict.predictor import Predictor
from server.engine.decode_stage import Cut, DecodeStage
from server.engine.health import CANARY
from server.engine.request import predict_request
from server.scheduling.daemon_thread import run_in_daemon_thread
from server.scheduling.model_thread import ModelThread
from server.schemas.options import PredictOptions
from server.settings.settings import Settings
from server.telemetry.metrics import Metrics
from weights.bundle import ENCODER_FILE
from weights.errors import BundleError, WeightsError

logger = logging.getLogger(__name__)

T = TypeVar("T")


def load_predictor(settings: Settings) -> Predictor:
    """Loads the bundle that the settings name.

    Raises:
        WeightsError: there is no bundle, it fails verification, or it has no encoder of video; or
            no encoder has the name that is set.
        FeatureMismatch: the encoder that is set makes other features than the bundle's.
        RuntimeUnavailable: the runtime of the encoder is not installed.
    """
    runtime = Runtime(
        settings.runtime,
        provider=settings.onnx_provider,
        cache=settings.cache,
        precision=settings.precision,
        execution=settings.execution,
    )
    encoder = None
    if settings.encoder is not None:
        named = load_named_encoder(
            settings.encoder, weights=settings.weights, accept_license=settings.accept_license
        )
        encoder, _ = choose_encoder(named.to(settings.device), b"", runtime)
    predictor = Predictor.from_bundle(
        settings.bundle,
        device=settings.device,
        search=settings.search,
        encoder=encoder,
        runtime=runtime,
    )
    if isinstance(predictor.encoder, PrecomputedFeatures):
        name = predictor.encoder.name
        found = f"none: this bundle answers for {name} features; set `encoder` to their encoder"
        raise BundleError(ENCODER_FILE, expected="an encoder, as callers send video", found=found)
    return predictor


class Reloader:
    """Replaces the predictor being served by that of another bundle.

    Args:
        load: makes the predictor, verifying the bundle.
        latest_sha256: reads the hash of the bundle; it fails when the bundle is unreachable,
            although `load` might find a copy in a cache.
        timeout_s: longest time a reload may take.

    Attributes:
        result: of the last reload.
    """

    def __init__(
        self,
        load: Callable[[], Predictor],
        decode: DecodeStage,
        model: ModelThread,
        metrics: Metrics,
        *,
        latest_sha256: Callable[[], str] | None = None,
        timeout_s: float,
    ) -> None:
        self._load, self._decode, self._model = load, decode, model
        self._metrics, self._latest_sha256 = metrics, latest_sha256
        self._timeout_s = timeout_s
        self._is_loading = False
        self._given_up: threading.Event | None = None  # set when the call returns after all
        self.result: Literal["none", "ok", "failed"] = "none"

    async def reload(self) -> None:
        """Never raises: on failure the old predictor stays, and the error is logged."""
        if self._is_loading:
            logger.warning("a bundle is being loaded already; not loading another")
            return
        self._is_loading = True
        try:
            async with asyncio.timeout(self._timeout_s):
                predictor = await self._load_and_probe()
        except Exception as error:  # any error leaves the old bundle in service
            self.result = "failed"
            logger.error("the bundle was not reloaded: %s", error, exc_info=error)
        else:
            self._model.switch(predictor)
            self.result = "ok"
            logger.info(
                "reloaded: %s %s %s", predictor.name, predictor.version, predictor.sha256[:12]
            )
        finally:
            self._is_loading = False
            self._metrics.reloads.labels(self.result).inc()

    async def poll(self, every_s: float) -> None:
        """Reloads whenever the bundle's hash differs from the one served; until cancelled."""
        assert self._latest_sha256 is not None
        while True:
            await asyncio.sleep(every_s)
            try:
                found = await self._off_the_loop(self._latest_sha256)
            except (WeightsError, OSError) as error:
                logger.warning("cannot read the hash of the bundle: %s", error)
                continue
            if found != self._model.predictor.sha256:
                await self.reload()

    async def _load_and_probe(self) -> Predictor:
        """Loads the new predictor, and has it answer the canary."""
        if self._latest_sha256 is not None:
            await self._off_the_loop(self._latest_sha256)
        predictor = await self._off_the_loop(self._load)
        deadline_s = asyncio.get_running_loop().time() + self._timeout_s
        cut = await self._decode.cut(CANARY, predictor.encoder, deadline_s=deadline_s)
        await self._off_the_loop(partial(_answer, predictor, cut))
        return predictor

    async def _off_the_loop(self, function: Callable[[], T]) -> T:
        """Runs a call that may hang on a bundle's folder; none while one given up still does."""
        if self._given_up is not None and not self._given_up.is_set():
            raise TimeoutError("an earlier read of the bundle's folder has not returned yet")
        has_returned = threading.Event()

        def run() -> T:
            try:
                return function()
            finally:
                has_returned.set()

        try:
            return await run_in_daemon_thread("reload", run)
        except asyncio.CancelledError:
            self._given_up = has_returned
            raise


def _answer(predictor: Predictor, cut: Cut) -> None:
    """Answers the canary with a new predictor, through the stages of a caller's clip."""
    features = batch_encoder(predictor.encoder)(cut.windows).cpu()
    track = track_from(features, cut.clip.num_frames, predictor.encoder, "canary")
    predictor.predict([predict_request(predictor, track, PredictOptions())])
