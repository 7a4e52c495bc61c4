"""Bundle loader: the bundle on disk -> a predictor, and hot reload of another bundle.

A reload loads the new predictor beside the one being served, and switches to it only after it
has answered the canary clip.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Literal, TypeVar

from extract.encoders.load import load_named_encoder
from extract.encoders.precomputed import PrecomputedFeatures
from extract.features.extractor import track_from
from extract.runtime.choose import Runtime, choose_encoder
from extract.runtime.frame_batches import batch_encoder
from model.predict.predictor import Predictor
from server.engine.active import served_place
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
from weights.storage.folders import Place

logger = logging.getLogger(__name__)

T = TypeVar("T")


def load_predictor(
    settings: Settings, place: Place | None = None, *, like: Predictor | None = None
) -> Predictor:
    """Loads a bundle as the settings say.

    Args:
        settings: encoder, device, runtime.
        place: of the bundle; default: the one to serve, with the skills that are active.
        like: the predictor being served, whose encoder is used if it is the same one.

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
    if settings.encoder is not None and like is not None:
        encoder = like.encoder  # the one of the setting, which does not change
    elif settings.encoder is not None:
        named = load_named_encoder(
            settings.encoder, weights=settings.weights, accept_license=settings.accept_license
        )
        encoder, _ = choose_encoder(named.to(settings.device), b"", runtime)
    predictor = Predictor.from_bundle(
        served_place(settings) if place is None else place,
        device=settings.device,
        search=settings.search,
        encoder=encoder,
        runtime=runtime,
        like=like,
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
        self._loading = asyncio.Lock()
        self._given_up: threading.Event | None = None  # set when the call returns after all
        self.result: Literal["none", "ok", "failed"] = "none"

    async def reload(self) -> None:
        """Never raises: on failure the old predictor stays, and the error is logged."""
        if self._loading.locked():
            logger.warning("a bundle is being loaded already; not loading another")
            return
        try:
            await self._replace(self._load_latest, _no_commit)
        except Exception as error:  # any error leaves the old bundle in service
            logger.error("the bundle was not reloaded: %s", error, exc_info=error)

    async def replace(
        self, load: Callable[[], Predictor], commit: Callable[[], Awaitable[None]]
    ) -> None:
        """Serves another bundle: loaded, probed, committed, switched to, in this order.

        Args:
            load: makes its predictor.
            commit: makes the change durable; if it raises, the old bundle stays in service.

        Raises:
            Exception: any of `load`, the probe or `commit`.
        """
        await self._replace(lambda: self._off_the_loop(load), commit)

    async def _replace(
        self, load: Callable[[], Awaitable[Predictor]], commit: Callable[[], Awaitable[None]]
    ) -> None:
        async with self._loading:
            try:
                async with asyncio.timeout(self._timeout_s):
                    predictor = await load()
                    await self._probe(predictor)
                await _to_its_end(self._switch(predictor, commit))
            except Exception:
                self._end("failed")
                raise
        logger.info("reloaded: %s %s %s", predictor.name, predictor.version, predictor.sha256[:12])

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

    async def _switch(self, predictor: Predictor, commit: Callable[[], Awaitable[None]]) -> None:
        await commit()
        self._model.switch(predictor)
        self._end("ok")

    def _end(self, result: Literal["ok", "failed"]) -> None:
        self.result = result
        self._metrics.reloads.labels(result).inc()

    async def _load_latest(self) -> Predictor:
        if self._latest_sha256 is not None:
            await self._off_the_loop(self._latest_sha256)
        return await self._off_the_loop(self._load)

    async def _probe(self, predictor: Predictor) -> None:
        """Has a new predictor answer the canary; on the model's thread if it shares an encoder."""
        deadline_s = asyncio.get_running_loop().time() + self._timeout_s
        cut = await self._decode.cut(CANARY, predictor.encoder, deadline_s=deadline_s)
        if predictor.encoder is self._model.predictor.encoder:
            await self._model.run(predictor, partial(_answer, cut=cut))
        else:
            await self._off_the_loop(partial(_answer, predictor, cut))

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


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Awaits work that is finished even if the caller is cancelled, which it then hears of."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


async def _no_commit() -> None:
    """A reload follows what is stored already."""
