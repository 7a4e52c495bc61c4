"""Actor pool: units of work of any kind over actors of a Ray cluster, with bounded retries.

Ray Data distributes the units, one per block, and restarts actors that died. Its own retries are
off: without a limit it retries a unit that kills its actor for ever, and with one it drops a killed
unit's neighbours too. Instead, each pass distributes every unit that is left; a unit that was begun
and did not come back has one failure, and at two it is given up. From the second pass on, units are
alone in their actors, so that only faulty ones fail again. A pass in which no unit ends or fails
ends the run.
"""

import pickle
import queue
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from extract.cluster.session import Resources
from extract.errors import ClusterFailed

_TICK_S = 0.25
_SILENCE_S = 1200.0  # a decoder that hangs is reported after 600 s
_MAX_FAILURES = 2
_END = object()

ProgressCallback = Callable[[str, Any], None]
"""Progress callback: a unit's id, and progress that can be pickled."""

Work = Callable[[Mapping[str, Any], ProgressCallback], Iterator[tuple[str, Any]]]
"""Units, id -> unit, to results, (id, result), in any order."""


@dataclass(frozen=True)
class Begun:
    """An actor works on a unit; `news` is its progress, None at first."""

    id: str
    news: Any = None


@dataclass(frozen=True)
class Done:
    """A unit is done."""

    id: str
    result: Any


@dataclass(frozen=True)
class GivenUp:
    """A unit's actor died with it twice, the second time with no other unit."""

    id: str


class ActorPool:
    """A pool of equal actors.

    Args:
        ray: connected.
        make: called once in every actor; returns its work function; can be pickled.
        room: number of actors, and resources of each.
        together: units in an actor at once.
    """

    def __init__(self, ray: Any, make: Callable[[], Work], room: Resources, *, together: int = 1):
        self._ray, self._make, self._room, self._together = ray, make, room, together

    def run(
        self, units: Mapping[str, Any], is_stopped: Callable[[], bool]
    ) -> Iterator[Begun | Done | GivenUp]:
        """Yields the end of every unit, and progress in between.

        Args:
            units: id -> unit; distributed in this order.
            is_stopped: called several times a second; True ends the run.

        Raises:
            ClusterFailed: the work failed for another reason than a unit, or there was no
                progress for too long.
        """
        left, failures, together = dict(units), Counter[str](), self._together
        while left and not is_stopped():
            begun: set[str] = set()
            before = len(left)
            for news in self._pass(left, together, is_stopped):
                if news.id not in left:  # progress that arrives after its end
                    continue
                if isinstance(news, Begun):
                    begun.add(news.id)
                else:
                    del left[news.id]
                yield news
            lost = begun & left.keys()
            if is_stopped():
                return
            if not lost and len(left) == before:
                raise ClusterFailed("the cluster's actors end before they begin any work")
            failures.update(lost)
            for id in sorted(id for id in lost if failures[id] >= _MAX_FAILURES):
                del left[id]
                yield GivenUp(id)
            together = 1

    def _pass(
        self, units: Mapping[str, Any], together: int, is_stopped: Callable[[], bool]
    ) -> Iterator[Begun | Done]:
        """Distributes every unit once."""
        board = self._board()
        rows: queue.SimpleQueue[Any] = queue.SimpleQueue()
        dataset = self._dataset(units, together, board)
        threading.Thread(target=_consume, args=(dataset, rows), daemon=True).start()
        received_at = time.monotonic()
        while not is_stopped():
            row = _next(rows)
            progress = self._ray.get(board.take.remote())
            yield from (Begun(id, news) for id, news in progress.items())
            if row is _END:
                return
            if isinstance(row, Done):
                yield row
            if progress or row is not None:
                received_at = time.monotonic()
            elif time.monotonic() - received_at > _SILENCE_S:
                raise ClusterFailed(f"nothing was heard of the cluster for {_SILENCE_S:.0f} s")

    def _board(self) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        here = self._ray.get_runtime_context().get_node_id()
        where = NodeAffinitySchedulingStrategy(here, soft=False)
        return (
            self._ray.remote(num_cpus=0)(ProgressBoard).options(scheduling_strategy=where).remote()
        )

    def _dataset(self, units: Mapping[str, Any], together: int, board: Any) -> Any:
        rows = [{"id": id, "unit": pickle.dumps(unit)} for id, unit in units.items()]
        context = self._ray.data.DataContext.get_current()
        context.max_errored_blocks = -1  # the next pass distributes lost units
        context.execution_no_progress_timeout_s = -1  # a day of video is one block and takes hours
        strategy = self._ray.data.ActorPoolStrategy(
            size=min(self._room.actors, len(rows)), max_tasks_in_flight_per_actor=2
        )
        with warnings.catch_warnings():  # Ray 2.60 has no other way to set max_task_retries
            warnings.simplefilter("ignore")
            return self._ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
                ActorWorker,
                batch_size=together,
                compute=strategy,
                fn_constructor_kwargs={"make": self._make, "board": board},
                num_cpus=self._room.cpus,
                num_gpus=self._room.gpus or None,
                max_task_retries=0,
            )


class ActorWorker:
    """Callable of Ray Data in an actor: units in, results out; an exception is a result, too."""

    def __init__(self, make: Callable[[], Work], board: Any) -> None:
        self._board = board
        try:
            self._work: Work = make()
        except Exception as error:  # raised here, Ray would restart the actor, or wrap it
            self._work = _FailedStart(error)

    def __call__(self, rows: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Takes columns `id` and `unit`; returns columns `id` and `result`, pickled."""
        import ray

        units = {str(id): pickle.loads(u) for id, u in zip(rows["id"], rows["unit"], strict=True)}
        # Awaited: a unit that kills this process at once must be noted as begun.
        ray.get(self._board.begin.remote(list(units)))
        results: dict[str, Any] = {}
        try:
            results.update(self._work(units, self._report))
        except Exception as error:
            host = ray.util.get_node_ip_address()
            results = dict.fromkeys(
                units, _Failure(f"node {host}: {type(error).__name__}: {error}")
            )
        return {"id": list(results), "result": [pickle.dumps(r) for r in results.values()]}

    def _report(self, id: str, news: Any) -> None:
        self._board.update.remote(id, news)


class ProgressBoard:
    """Latest progress of each unit, until it is taken; an actor on the driver's node."""

    def __init__(self) -> None:
        self._news: dict[str, Any] = {}

    def begin(self, ids: list[str]) -> None:
        """Notes that an actor works on these units."""
        self._news.update(dict.fromkeys(ids))

    def update(self, id: str, news: Any) -> None:
        """Notes the progress of a unit."""
        self._news[id] = news

    def take(self) -> dict[str, Any]:
        """Returns the progress since the last call."""
        taken, self._news = self._news, {}
        return taken


@dataclass(frozen=True)
class _Failure:
    """A failure of the work for another reason than a unit."""

    why: str


class _FailedStart:
    """The work function of an actor that could not start: raises its error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __call__(
        self, units: Mapping[str, Any], progress: ProgressCallback
    ) -> Iterator[tuple[str, Any]]:
        raise self._error


def _consume(dataset: Any, rows: "queue.SimpleQueue[Any]") -> None:
    """Runs a dataset and puts its rows into the queue, then its end or its error."""
    try:
        for batch in dataset.iter_batches(batch_size=None, prefetch_batches=0):
            for id, result in zip(batch["id"], batch["result"], strict=True):
                rows.put(Done(str(id), pickle.loads(result)))
        rows.put(_END)
    except Exception as error:
        rows.put(error)


def _next(rows: "queue.SimpleQueue[Any]") -> Any:
    """Returns the next row, `_END`, or None when none came for `_TICK_S`.

    Raises:
        ClusterFailed: the work failed for another reason than a unit.
    """
    try:
        row = rows.get(timeout=_TICK_S)
    except queue.Empty:
        return None
    if isinstance(row, Exception):
        lines = str(row).strip().splitlines() or [type(row).__name__]
        raise ClusterFailed(f"Ray Data: {lines[-1]}") from row
    if isinstance(row, Done) and isinstance(row.result, _Failure):
        raise ClusterFailed(row.result.why)
    return row
