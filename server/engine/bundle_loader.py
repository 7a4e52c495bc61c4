"""Hot reload: a new bundle is loaded and proven beside the old one, and only then served."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from extract.encoders.precomputed import PrecomputedFeatures
from extract.features.extractor import track_from
from extract.named import load_named_encoder
from extract.runtime.choose import Runtime, choose_encoder
from model.predict.predictor import Predictor
from server.engine.decode_stage import Cut, DecodeStage
from server.engine.request import predict_request
from server.scheduling.model_thread import ModelThread
from server.schemas.options import PredictOptions
from server.settings.settings import Settings
from server.telemetry.metrics import Metrics
from weights.bundle import ENCODER_FILE
from weights.errors import BundleError, WeightsError


def load_predictor(settings: Settings) -> Predictor:
    """Loads the bundle that is to be served.

    Raises:
        WeightsError: there is no bundle, it cannot be trusted, or it cannot see video; or there is
            no encoder of the name that is set.
        FeatureMismatch: the encoder that is set makes other features than the bundle's.
        RuntimeUnavailable: what is to run the encoder is not there.
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


logger = logging.getLogger(__name__)


class Reloader:
    """Loads again what the server was started with.

    Attributes:
        result: of the last reload.
    """

    def __init__(
        self,
        load: Callable[[], Predictor],
        decode: DecodeStage,
        model: ModelThread,
        metrics: Metrics,
        look: Callable[[], str] | None = None,
    ) -> None:
        """Wires it; nothing is loaded before `reload`.

        Args:
            load: makes the predictor, verifying the bundle.
            decode: gives the canary's windows.
            model: begins new requests with the new predictor.
            metrics: where results are counted.
            look: asks for the hash of the bundle that lies there now, and fails where it cannot be
                had, although a cache may hold one that could.
        """
        self._load, self._decode, self._model = load, decode, model
        self._metrics, self._look = metrics, look
        self._is_loading = False
        self.result: Literal["none", "ok", "failed"] = "none"

    async def reload(self, canary: Path, *, timeout_s: float) -> None:
        """Never raises: on failure the old predictor stays, and the log says why.

        Args:
            canary: a clip that the new predictor has to answer first.
            timeout_s: longest time it may take to be ready.
        """
        if self._is_loading:
            logger.warning("a bundle is being loaded already; not loading another")
            return
        self._is_loading = True
        try:
            async with asyncio.timeout(timeout_s):
                predictor = await self._proven(canary, timeout_s)
        except Exception as error:  # whatever it is, the old bundle is still good
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

    async def follow(self, canary: Path, *, every_s: float, timeout_s: float) -> None:
        """Reloads whenever another bundle lies there than the one served; until cancelled."""
        assert self._look is not None
        while True:
            await asyncio.sleep(every_s)
            try:
                found = await asyncio.to_thread(self._look)
            except (WeightsError, OSError) as error:
                logger.warning("cannot look for another bundle: %s", error)
                continue
            if found != self._model.predictor.sha256:
                await self.reload(canary, timeout_s=timeout_s)

    async def _proven(self, canary: Path, timeout_s: float) -> Predictor:
        """Loads on a thread of its own, which hands the model over once it has answered."""
        loop = asyncio.get_running_loop()
        thread = ThreadPoolExecutor(1, "reload")
        try:
            if self._look is not None:
                await loop.run_in_executor(thread, self._look)
            predictor = await loop.run_in_executor(thread, self._load)
            contract = predictor.encoder.contract
            cut = await self._decode.cut(canary, contract, deadline_s=loop.time() + timeout_s)
            await loop.run_in_executor(thread, _answer, predictor, cut)
            return predictor
        finally:
            thread.shutdown(wait=False)


def _answer(predictor: Predictor, cut: Cut) -> None:
    """Takes the canary through the new predictor, as a caller's clip would go."""
    features = predictor.encoder.encode(cut.windows).cpu()
    encoder = predictor.encoder
    frames = cut.clip.num_frames
    track = track_from(features, cut.starts, frames, encoder.contract, encoder, "canary")
    tasks = frozenset(predictor.tasks)
    predictor.predict([predict_request(track, PredictOptions(), tasks=tasks)])
