"""Bundle loader: the bundle on disk -> a predictor, and hot reload of another bundle.

A reload loads the new predictor beside the one being served, and switches to it only after it
has answered the canary clip.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from extract.encoders.load import load_named_encoder
from extract.encoders.precomputed import PrecomputedFeatures
from extract.features.extractor import track_from
from extract.runtime.choose import Runtime, choose_encoder
from model.predict.predictor import Predictor
from server.engine.decode_stage import Cut, DecodeStage
from server.engine.health import CANARY
from server.engine.request import predict_request
from server.scheduling.model_thread import ModelThread
from server.schemas.options import PredictOptions
from server.settings.settings import Settings
from server.telemetry.metrics import Metrics
from weights.bundle import ENCODER_FILE
from weights.errors import BundleError, WeightsError

logger = logging.getLogger(__name__)


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
        named = load_named_encoder(settings.encoder, weights=settings.weights)
        encoder, _ = choose_encoder(named.to(settings.device), b"", runtime)
    predictor = Predictor.from_bundle(
        settings.bundle, device=settings.device, encoder=encoder, runtime=runtime
    )
    if isinstance(predictor.encoder, PrecomputedFeatures):
        name = predictor.encoder.name
        found = f"none: this bundle answers for {name} features; set `encoder` to who makes them"
        raise BundleError(ENCODER_FILE, expected="an encoder, as callers send video", found=found)
    return predictor


class Reloader:
    """Replaces the predictor being served by that of another bundle.

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
        """Loads nothing before `reload`.

        Args:
            load: makes the predictor, verifying the bundle.
            decode: makes the canary's windows.
            model: is switched to the new predictor.
            metrics: counts the results.
            latest_sha256: reads the hash of the bundle; it fails when the bundle is unreachable,
                although `load` might find a copy in a cache.
            timeout_s: longest time a reload may take.
        """
        self._load, self._decode, self._model = load, decode, model
        self._metrics, self._latest_sha256 = metrics, latest_sha256
        self._timeout_s = timeout_s
        self._is_loading = False
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
                found = await asyncio.to_thread(self._latest_sha256)
            except (WeightsError, OSError) as error:
                logger.warning("cannot read the hash of the bundle: %s", error)
                continue
            if found != self._model.predictor.sha256:
                await self.reload()

    async def _load_and_probe(self) -> Predictor:
        """Loads on a thread of its own and answers the canary there."""
        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(1, "reload")
        try:
            if self._latest_sha256 is not None:
                await loop.run_in_executor(thread, self._latest_sha256)
            predictor = await loop.run_in_executor(thread, self._load)
            contract = predictor.encoder.contract
            deadline_s = loop.time() + self._timeout_s
            cut = await self._decode.cut(CANARY, contract, deadline_s=deadline_s)
            await loop.run_in_executor(thread, _answer, predictor, cut)
            return predictor
        finally:
            thread.shutdown(wait=False)


def _answer(predictor: Predictor, cut: Cut) -> None:
    """Answers the canary with a new predictor, through the stages of a caller's clip."""
    features = predictor.encoder.encode(cut.windows).cpu()
    track = track_from(features, cut.clip.num_frames, predictor.encoder, "canary")
    predictor.predict([predict_request(predictor, track, PredictOptions())])
