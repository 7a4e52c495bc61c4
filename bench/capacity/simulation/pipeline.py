"""Simulation of the request path: admission, decoders, micro-batches, the model's thread, cores.

It follows `server.scheduling` and `server.engine.feature_stage` step by step; work is a number of
seconds here.
"""

from __future__ import annotations

import random
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.capacity.simulation.cores import Cores, Session
from bench.capacity.simulation.stages import Box, Stages
from server.scheduling.admission import TYPICAL_WINDOWS

if TYPE_CHECKING:
    from simpy import Environment, Event

Steps = Generator["Event", Any, Any]

CALLERS, SERVER = Session("callers"), Session("server")


@dataclass(eq=False)
class _Item:
    cost: int
    done: Event


class Pipeline:
    """One server on one machine.

    Attributes:
        inside: requests that hold a place.
        refused: requests that got none.
        arrived: all of them.
    """

    def __init__(self, env: Environment, stages: Stages, box: Box, rng: random.Random) -> None:
        """Begins with every place free; `rng` draws how long things take."""
        from simpy import Resource, Store  # an extra, and only some need it

        self._env, self._stages, self._box, self._rng = env, stages, box, rng
        self.cores = Cores(env, box.cores, slowdown=stages.slowdown, grouped=box.grouped)
        self._loop = Resource(env, 1)
        self._thread = Resource(env, 1)
        self._in_memory = Resource(env, box.decoders + box.clips_ahead)
        self._decoders: Store = Store(env)
        for number in range(box.decoders):
            self._decoders.put(Session(f"decoder {number}", box.niceness))
        self._coming = 0
        self._windows: dict[object, int] = {}  # of clips inside that are decoded
        self._seen_windows = self._seen_clips = 0
        self.arrived = self.refused = self.inside = 0
        self._features = _Queue(
            env, self._encode, box.max_batch_windows, box.max_wait_s, lambda: self._coming > 0
        )
        self._reason = _Queue(env, self._predict, box.max_batch_requests)

    def call(self, kind: str) -> Steps:
        """One request from connection to last byte; its value is whether it was answered."""
        cost = self._stages.clips[kind]
        self.arrived += 1
        half_s = cost.caller_s / 2
        yield self.cores.work(half_s, CALLERS)
        if not self._has_room():
            self.refused += 1
            yield from self._on_loop(self._stages.refuse_s)
            return False
        self.inside += 1
        me = object()
        try:
            yield from self._on_loop(cost.receive_s)
            yield from self._see(me, kind)
            yield self._reason.put(1)
            yield from self._on_loop(cost.reply_s)
        finally:
            self.inside -= 1
            self._windows.pop(me, None)
        yield self.cores.work(half_s, CALLERS)
        return True

    def _has_room(self) -> bool:
        if self.inside >= self._box.max_requests:
            return False
        typical = self._seen_windows / self._seen_clips if self._seen_clips else TYPICAL_WINDOWS
        waiting = sum(self._windows.values()) + typical * (self.inside - len(self._windows))
        return not self.inside or waiting + typical <= self._box.max_queued_windows

    def _see(self, me: object, kind: str) -> Steps:
        """Decodes and encodes a clip."""
        cost = self._stages.clips[kind]
        with self._in_memory.request() as place:
            yield place
            self._coming += 1
            decoder = yield self._decoders.get()
            decode_s = self._rng.choice(cost.decode_s)
            yield self.cores.work(decode_s, decoder, niceness=self._box.niceness)
            self._decoders.put(decoder)
            self._coming -= 1
            self._windows[me] = cost.windows
            self._seen_windows += cost.windows
            self._seen_clips += 1
            most = self._box.max_batch_windows
            parts = [min(most, cost.windows - first) for first in range(0, cost.windows, most)]
            yield self._env.all_of([self._features.put(part) for part in parts])

    def _on_loop(self, cpu_s: float) -> Steps:
        """Work of the event loop, one after the other."""
        if cpu_s > 0:
            with self._loop.request() as turn:
                yield turn
                yield self.cores.work(cpu_s, SERVER)

    def _encode(self, windows: int) -> Steps:
        with self._thread.request() as turn:
            yield turn
            spare = max(1, min(self._box.torch_threads - self._coming, windows))
            loss = self._stages.parallel_loss - 1
            more = 1 + loss * (spare - 1) / max(1, self._box.torch_threads - 1)
            work_s = self._stages.features.of(windows) * more
            work_s *= self._rng.choice(self._stages.features_scatter)
            yield self.cores.work(work_s, SERVER, niceness=self._box.niceness, threads=spare)

    def _predict(self, requests: int) -> Steps:
        with self._thread.request() as turn:
            yield turn
            work_s = self._stages.reason.of(requests)
            yield self.cores.work(work_s, SERVER, niceness=self._box.niceness)


class _Queue:
    """A micro-batching queue, as in the server but without priorities."""

    def __init__(
        self, env: Environment, run: Any, most: int, wait_s: float = 0.0, more: Any = bool
    ) -> None:
        self._env, self._run, self._most = env, run, most
        self._wait_s, self._is_more_coming = wait_s, more
        self._waiting: list[_Item] = []
        self._arrived = env.event()
        env.process(self._serve())

    def put(self, cost: int) -> Event:
        item = _Item(cost, self._env.event())
        self._waiting.append(item)
        if not self._arrived.triggered:
            self._arrived.succeed()
        return item.done

    def _serve(self) -> Steps:
        while True:
            if not self._waiting:
                yield self._next()
                continue
            batch: list[_Item] = []
            yield from self._gather(batch)
            yield from self._run(sum(item.cost for item in batch))
            for item in batch:
                item.done.succeed()

    def _gather(self, batch: list[_Item]) -> Steps:
        until_s = self._env.now + self._wait_s
        cost = 0
        while True:
            while self._waiting and (not batch or cost + self._waiting[0].cost <= self._most):
                batch.append(self._waiting.pop(0))
                cost += batch[-1].cost
            is_full = bool(self._waiting) or cost >= self._most
            left_s = until_s - self._env.now
            if is_full or left_s <= 0 or not self._is_more_coming():
                return
            yield self._env.any_of([self._next(), self._env.timeout(left_s)])

    def _next(self) -> Event:
        """The event of something arriving from now on."""
        if self._arrived.triggered:
            self._arrived = self._env.event()
        return self._arrived
