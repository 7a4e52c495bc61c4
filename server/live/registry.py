"""Registry of live streams: opened, found again by their token, ended in time."""

import asyncio
import ctypes
import itertools
import math
import secrets
from contextlib import suppress
from functools import partial

from extract.decode.clip import Limits
from extract.sandbox.process import DecodeProcess
from server.engine.engine import Engine
from server.engine.request import check_tasks
from server.errors import QueueFull
from server.live.admission import RETRY_AFTER_S, LivePlace, LivePlaces
from server.live.decoder import LiveDecoder
from server.live.endings import DRAINING, GONE
from server.live.options import LiveOptions
from server.live.session import LiveSession
from server.settings.settings import Settings

CHECK_S = 0.25
"""Between two looks at all streams."""

TRIM_S = 30.0
"""Seconds between looks for memory to give back, while there are streams."""

_CPU_SLACK_S = 600.0


class LiveRegistry:
    """The streams of a server.

    Attributes:
        settings: limits in force.

    Args:
        engine: encodes and answers.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine, self.settings = engine, engine.settings
        metrics = engine.telemetry.metrics
        self._places = LivePlaces(engine.settings, lambda: engine.model.window_s, metrics)
        self._sessions: dict[str, tuple[LiveSession, LivePlace]] = {}

    def admit(self, caller: str) -> LivePlace | None:
        """Returns a place for a stream before the client has said what it is.

        None: there is none, but the caller may go on with a stream that has one.

        Raises:
            QueueFull: there is none.
            NotReady, Unhealthy, Draining: as `Lifecycle.require_open` does.
        """
        self._engine.life.require_open()
        contract = self._engine.predictor.encoder.contract
        try:
            return self._places.take(caller, contract.fps / contract.stride_frames)
        except QueueFull:
            mine = (s for s, _ in self._sessions.values() if s.caller == caller)
            if any(session.may_come_back for session in mine):
                return None
            raise

    async def open(
        self, options: LiveOptions, place: LivePlace | None, caller: str = "", key: str = ""
    ) -> LiveSession:
        """Returns a new stream, which keeps its place until it is forgotten.

        Args:
            options: of the stream.
            place: as `admit` returned it.
            caller: whose share it takes.
            key: name of the API key that it was opened with; empty: none.

        Raises:
            QueueFull: it has no place.
            UnknownTask: the bundle has no such task.
            DecoderUnavailable: no decoding process can be started.
            NotReady: no bundle is loaded.
        """
        if place is None:
            raise QueueFull(RETRY_AFTER_S)
        predictor = self._engine.predictor
        check_tasks(options.summary, predictor)
        start = partial(DecodeProcess, live_limits(self.settings), has_feed=True)
        restarts = self._engine.telemetry.metrics.decoder_restarts.labels("crash")
        make = partial(
            LiveDecoder,
            start,
            predictor.encoder,
            options.input,
            options.rate,
            on_restart=restarts.inc,
        )
        decoder = await asyncio.to_thread(make)
        token = secrets.token_urlsafe(24)
        session = LiveSession(
            self._engine, predictor, options, decoder, token=token, caller=caller, key=key
        )
        self._sessions[token] = session, place
        return session

    def resume(self, token: str, after: int, key: str = "") -> LiveSession | None:
        """Returns the stream of a token, from wherever its client comes now.

        None: there is none of this API key, or it does not keep all messages after a number. Those
        that it keeps count as unwritten again.
        """
        session, _ = self._sessions.get(token, (None, None))
        if session is None or session.key != key or not session.outbox.holds_after(after):
            return None
        session.outbox.write_after(after)
        return session

    def forget(self, session: LiveSession) -> None:
        """Gives a stream's place back, once its last message was sent or nobody will read it."""
        _, place = self._sessions.pop(session.token, (None, None))
        if place is not None:
            place.give_back()

    async def watch(self) -> None:
        """Ends streams in time; runs until it is cancelled."""
        for turn in itertools.count(1):
            await asyncio.sleep(CHECK_S)
            self.check()
            if self._sessions and turn % round(TRIM_S / CHECK_S) == 0:
                await asyncio.to_thread(_trim_heap)

    def check(self) -> None:
        """Looks at all streams once."""
        is_draining = self._engine.life.state in ("draining", "broken")
        for session, _ in list(self._sessions.values()):
            dropped_s = session.dropped_for_s
            if is_draining:
                session.end(DRAINING)
            if dropped_s is not None and (is_draining or dropped_s > self.settings.live_resume_s):
                session.end(GONE)
                self.forget(session)
            session.check()

    async def stop(self) -> None:
        """Ends all streams."""
        for session, _ in list(self._sessions.values()):
            session.end(DRAINING)
            with suppress(asyncio.CancelledError):
                await session.wait_ended()
            self.forget(session)


def _trim_heap() -> None:
    """Gives free pages of the heap back.

    Windows and answers by the thousand leave holes in it, which glibc keeps: 1 MB a minute.
    """
    with suppress(AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def live_limits(settings: Settings) -> Limits:
    """Returns the decoder's limits for a live stream."""
    return Limits(
        max_duration_s=math.inf,  # a stream is cut by its session
        max_fps=settings.max_fps,
        max_pixels=settings.max_pixels,
        max_output_mb=1024,  # a ring of pictures, whatever the length
        is_stream=True,
        cpu_s=math.ceil(settings.live_max_s + _CPU_SLACK_S),
        memory_mb=settings.decode_memory_mb,
    )
