"""Live session: one stream from its bytes to its answers, whoever is connected to it.

decoder (a process of its own) -> windows -> pipeline -> outbox. Windows are encoded in order; those
that come while some are being encoded go together. At most `MAX_WAITING` wait: then the oldest is
left out; a stream that is ahead of its own times, or leaves out nothing, waits with its sender.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from extract.errors import VideoRejected
from model.predict.predictor import Predictor
from server.engine.engine import Engine
from server.live.decoder import TIME_BYTES, LiveDecoder, LiveWindow
from server.live.endings import DONE, Ending, ending_of, idle, too_large, too_long
from server.live.options import LiveOptions
from server.live.outbox import Outbox, OutboxFull
from server.live.pipeline import LivePipeline
from server.schemas.metadata import identity

MAX_WAITING = 4
"""Windows of one stream that may wait for the encoder."""

AHEAD_S = 1.0
"""A stream this far ahead of its times is sent faster than it plays, and can wait."""

QUIET_S = 2.0
"""Seconds without a message after which a connection may have dropped unnoticed."""

MAX_PIECE_BYTES = 2**20
"""Largest piece of a container."""

ACK_MESSAGES = 32
ACK_S = 1.0
"""Messages, and seconds, after which an acknowledgement is sent."""


@dataclass
class Input:
    """What came of a stream.

    Attributes:
        received: messages taken in.
        first_s: when the first one came, on the loop's clock, later by the time in which nothing
            came before another connection did.
        last_s: when the latest one came.
        is_over: no more is taken in.
        is_cut: for the stream had lasted too long.
        acked: messages acknowledged.
        acked_s: when.
    """

    received: int = 0
    first_s: float | None = None
    last_s: float = 0.0
    is_over: bool = False
    is_cut: bool = False
    acked: int = 0
    acked_s: float = 0.0


@dataclass
class _Waiting:
    """Windows that were decoded and not encoded."""

    windows: deque[LiveWindow] = field(default_factory=deque)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    room: asyncio.Event = field(default_factory=asyncio.Event)
    is_last: bool = False


class LiveSession:
    """One stream.

    Attributes:
        id: of the stream.
        token: who has it may go on with the stream on another connection.
        caller: whose share of places it takes.
        key: name of the API key that it was opened with; empty: none.
        outbox: the messages to the client.
        ending: how it ended; None until then.
        input: what came of it.

    Args:
        engine: encodes and answers.
        predictor: of the whole stream.
        options: of the client.
        decoder: of the stream; ends with the session.
        token: as above.
        caller: as above.
        key: as above.
    """

    def __init__(
        self,
        engine: Engine,
        predictor: Predictor,
        options: LiveOptions,
        decoder: LiveDecoder,
        *,
        token: str,
        caller: str = "",
        key: str = "",
    ) -> None:
        self.id, self.token, self.caller, self.key = uuid4().hex, token, caller, key
        self.outbox = Outbox()
        self.ending: Ending | None = None
        self.input = Input()
        self._engine, self._predictor, self._options = engine, predictor, options
        self._decoder = decoder
        self._pipeline = LivePipeline(engine, predictor, options, self._put)
        self._waiting = _Waiting()
        self._loop = asyncio.get_running_loop()
        self._started_s = self._loop.time()
        self._asked_s: float | None = None  # since when a window of the decoder is awaited
        self._connection: asyncio.Event | None = None
        self._dropped_s: float | None = None
        self._cutting: asyncio.Task[None] | None = None
        self._put_ready()
        self._task = self._loop.create_task(self._run())

    @property
    def dropped_for_s(self) -> float | None:
        """Seconds without a connection; None while there is one."""
        return None if self._dropped_s is None else self._loop.time() - self._dropped_s

    @property
    def may_come_back(self) -> bool:
        """Whether it has no connection, or perhaps one that has dropped unnoticed."""
        last_s = max(self._started_s, self.input.last_s)
        return self._dropped_s is not None or self._loop.time() - last_s > QUIET_S

    def attach(self) -> asyncio.Event:
        """Notes a connection; returns what is set when another one takes its place."""
        now_s = self._loop.time()
        if self._connection is not None:
            self._connection.set()
        self._dropped_s = None
        if self.input.first_s is not None:  # what could not be sent meanwhile comes in a hurry
            self.input.first_s += now_s - self.input.last_s
        if self._asked_s is not None:
            self._asked_s = now_s
        self._connection = asyncio.Event()
        return self._connection

    def detach(self, connection: asyncio.Event) -> None:
        """Notes that a connection has dropped."""
        if connection is self._connection:
            self._connection, self._dropped_s = None, self._loop.time()

    async def feed(self, data: bytes) -> None:
        """Takes in a message; waits while the decoder cannot keep up.

        Once it has begun the message counts as received, even if the wait is cancelled.
        """
        if self.input.is_over:
            return
        given, now_s = self.input, self._loop.time()
        if self._options.input == "pictures" and len(data) <= TIME_BYTES:
            detail = f"a picture's message has {TIME_BYTES} bytes of time, then the picture"
            self.end(ending_of(VideoRejected("damaged", detail)))
            return
        if self._options.input == "container" and len(data) > MAX_PIECE_BYTES:
            self.end(too_large(MAX_PIECE_BYTES))
            return
        given.received += 1
        given.last_s = now_s
        given.first_s = now_s if given.first_s is None else given.first_s
        await asyncio.shield(self._decoder.feed(data, now_s))
        is_due = given.received - given.acked >= ACK_MESSAGES or now_s - given.acked_s >= ACK_S
        if is_due and self.ending is None:
            given.acked, given.acked_s = given.received, now_s
            self._put("ack", received=given.received)

    async def finish(self) -> None:
        """Ends the input: what is left is answered, the summary follows."""
        if not self.input.is_over:
            self.input.is_over = True
            await asyncio.shield(self._decoder.finish())

    def check(self) -> None:
        """Ends a stream that is idle; cuts one that has lasted too long."""
        settings, now_s = self._engine.settings, self._loop.time()
        if self.ending is not None or self._dropped_s is not None:
            return
        idle_s = settings.live_idle_s
        if self._asked_s is not None and now_s - self._asked_s > idle_s:
            is_silent = now_s - self.input.last_s > idle_s
            self.end(idle(idle_s, is_silent=is_silent))
        elif now_s - self._started_s > settings.live_max_s:
            self._cut()

    def end(self, ending: Ending) -> None:
        """Ends the stream at once; what was answered is still sent. The first ending counts."""
        if self.ending is not None:
            return
        self.ending, self.input.is_over = ending, True
        if ending.code:
            self._put("error", code=ending.code, detail=ending.detail)
        self.outbox.close()
        self._decoder.stop()
        if self._task is not asyncio.current_task():
            self._task.cancel()

    async def wait_ended(self) -> None:
        """Waits until nothing of it runs any more."""
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read())
                group.create_task(self._work())
            fields = await self._pipeline.summarise(self.id, self._started_s)
            self.outbox.put_last("summary", **fields)
            limit_s = self._engine.settings.live_max_s
            self.end(too_long(limit_s) if self.input.is_cut else DONE)
        except Exception as error:  # the outermost edge of a stream
            if self.ending is None:  # else it is of what was stopped under it
                cause = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
                self.end(ending_of(cause))

    async def _read(self) -> None:
        """Takes windows from the decoder."""
        waiting, settings = self._waiting, self._engine.settings
        self._asked_s = self._loop.time()
        while (window := await self._decoder.next()) is not None:
            self._asked_s = None
            await asyncio.sleep(max(0.0, self._ahead_s(window) - settings.live_ahead_s))
            while len(waiting.windows) >= MAX_WAITING and self._may_wait(window):
                waiting.room.clear()
                await waiting.room.wait()
            if len(waiting.windows) >= MAX_WAITING:
                waiting.windows.popleft()
            waiting.windows.append(window)
            waiting.arrived.set()
            if window.num_frames / window.ticks_per_s > settings.live_max_s:
                self._cut()
            del window  # its frames are let go where it is encoded
            self._asked_s = self._loop.time()
        self._asked_s = None
        waiting.is_last = True
        waiting.arrived.set()

    def _may_wait(self, window: LiveWindow) -> bool:
        return not self._options.skip or self._ahead_s(window) > AHEAD_S

    def _ahead_s(self, window: LiveWindow) -> float:
        """Seconds by which a window ends later in the stream than it came."""
        since_s = self._loop.time() - (self.input.first_s or 0.0)
        return window.num_frames / window.ticks_per_s - since_s

    def _cut(self) -> None:
        if not self.input.is_over:
            self.input.is_cut = True
            self._cutting = self._loop.create_task(self.finish())

    async def _work(self) -> None:
        """Encodes and answers windows."""
        waiting = self._waiting
        while True:
            while not waiting.windows:
                if waiting.is_last:
                    return
                waiting.arrived.clear()
                await waiting.arrived.wait()
            windows = list(waiting.windows)
            waiting.windows.clear()
            waiting.room.set()
            await self._pipeline.take(windows)

    def _put_ready(self) -> None:
        contract = self._predictor.encoder.contract
        tasks = self._options.tasks or list(self._predictor.tasks)
        self._put(
            "ready",
            session=self.id,
            token=self.token,
            received=0,
            window_s=contract.window_frames / contract.fps,
            stride_s=contract.stride_frames / contract.fps,
            tasks=tasks,
            model=identity(self._predictor).model_dump(),
        )

    def _put(self, kind: str, **fields: Any) -> None:
        """Adds a message; ends the stream if its client reads none."""
        try:
            self.outbox.put(kind, **fields)
        except OutboxFull as error:
            self.end(ending_of(error))
