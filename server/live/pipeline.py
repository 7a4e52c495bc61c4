"""Live pipeline: a stream's windows -> encoder -> track -> answers, events, forecasts, summary.

Windows are encoded with those of other streams and requests, before jobs and after waiting clips.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from extract.features.track import FeatureTrack
from model.predict.outputs import Prediction
from model.predict.predictor import Predictor, PredictRequest
from server.engine import responses
from server.engine.engine import Engine
from server.live.answers import LiveAnswers
from server.live.decoder import LiveWindow
from server.live.events import ActionEvent, ActionEvents
from server.live.options import LiveOptions
from server.live.track import LiveTrack
from server.scheduling.batcher import Priority, every


class LivePipeline:
    """What becomes of one stream's windows.

    Args:
        engine: encodes and answers.
        predictor: of the whole stream, whatever bundle is served meanwhile.
        options: of the client.
        put: takes a message's type and fields.
    """

    def __init__(
        self,
        engine: Engine,
        predictor: Predictor,
        options: LiveOptions,
        put: Callable[..., None],
    ) -> None:
        self._engine, self._predictor, self._options = engine, predictor, options
        self._put = put
        self._answers, self._events = LiveAnswers(predictor, options), ActionEvents()
        self._live = LiveTrack(predictor.encoder)
        self._track: FeatureTrack | None = None

    async def take(self, windows: list[LiveWindow]) -> None:
        """Encodes windows together, and answers what is due after each.

        Args:
            windows: that follow those before; numbers that are missing were left out. The list is
                emptied once they are encoded, for their frames to be let go.
        """
        rows = await self._encode(windows)
        encoded = [window._replace(frames=()) for window in windows]
        windows.clear()
        for window, row in zip(encoded, rows, strict=True):
            await self._add(window, row)

    async def summarise(self, answer_id: str, started_s: float) -> dict[str, Any]:
        """Ends the events; returns the fields of the summary.

        Args:
            answer_id: id of the prediction in it.
            started_s: when the stream began, on the loop's clock.
        """
        track = self._track
        assert track is not None  # else the decoder has refused the stream
        if self._options.events:
            self._tell(self._events.finish(track.video_end_s))
        options = self._options.summary
        if self._live.skipped:  # of a stream that was left out for the most part, all are answered
            seen = self._answers.seen_segments(track, self._live)
            options = options.model_copy(update={"segments": seen or None})
        result = await self._engine.long_video.answer(track, self._predictor, options)
        total_s = asyncio.get_running_loop().time() - started_s
        body = responses.prediction(result, options, answer_id=answer_id, total_s=total_s)
        fields = await asyncio.to_thread(body.model_dump, mode="json", exclude_none=True)
        return {"result": fields, "skipped": self._live.skipped}

    async def _encode(self, windows: list[LiveWindow]) -> Tensor:
        frames = [window.frames for window in windows]
        queued = self._engine.model.enqueue_windows(
            self._predictor, frames, deadline_s=self._deadline_s(), priority=Priority.LIVE
        )
        return torch.cat([part.value for part in await every(queued)])

    async def _add(self, window: LiveWindow, row: Tensor) -> None:
        """Adds a window to the track, and answers what is due after it."""
        self._fill(window)
        self._live.append(row)
        track = self._track = self._live.at(
            window.num_frames, origin_s=window.origin_s, ticks_per_s=window.ticks_per_s
        )
        contract, options = self._predictor.encoder.contract, self._options
        count = window.number + 1
        is_moved = (window.num_frames - contract.window_frames) % contract.stride_frames != 0
        if count % options.every == 0 or is_moved:
            await self._answer(window, track)
        if options.forecast_every and count % options.forecast_every == 0:
            request = self._answers.forecast(track, self._live)
            if request is not None:
                found, lag_ms = await self._reason(request, window)
                at_s = track.video_end_s
                self._put("forecast", **self._answers.forecast_fields(at_s, found, lag_ms))

    def _fill(self, window: LiveWindow) -> None:
        """Fills the places of windows before this one that were left out."""
        first, contract = len(self._live), self._predictor.encoder.contract
        missing = window.number - first
        for _ in range(missing):
            self._live.skip()
        if missing:
            frames = first * contract.stride_frames
            until = (window.number - 1) * contract.stride_frames + contract.window_frames
            from_s, to_s = (window.origin_s + n / window.ticks_per_s for n in (frames, until))
            self._put("skipped", from_s=from_s, to_s=to_s, windows=missing)
            self._engine.telemetry.metrics.live_skipped.inc(missing)

    async def _answer(self, window: LiveWindow, track: FeatureTrack) -> None:
        has_events = self._options.events and self._answers.names_actions
        request = self._answers.present(track)
        if request is None or not (self._options.answers or has_events):
            return
        found, lag_ms = await self._reason(request, window)
        self._engine.telemetry.metrics.live_lag_s.observe(lag_ms / 1000)
        if self._options.answers:
            self._put("answer", **self._answers.answer_fields(track, found, lag_ms))
        latest = found.segments[-1]
        if has_events and self._live.is_seen(track, (latest.start_s, latest.end_s)):
            self._tell(self._events.take(latest))

    async def _reason(
        self, request: PredictRequest, window: LiveWindow
    ) -> tuple[Prediction, float]:
        """Returns a prediction, and the milliseconds since what it needed came."""
        done = await self._engine.model.reason(
            self._predictor, request, deadline_s=self._deadline_s(), priority=Priority.LIVE
        )
        return done.value, round((asyncio.get_running_loop().time() - window.arrived_s) * 1000, 3)

    def _tell(self, events: Iterable[ActionEvent]) -> None:
        for event in events:
            self._put("action", **asdict(event))

    def _deadline_s(self) -> float:
        return asyncio.get_running_loop().time() + self._engine.settings.timeout_s
