"""Units of work over actors of a Ray cluster, whatever the work is.

Ray Data hands out the units, one to a block, and starts actors anew that died. What it must not
do is judge: left alone it tries a unit that kills its actor for ever, and with a limit it gives up
a killed unit's neighbours too. So it never tries anything again here. A pass hands out every unit
that is left; a unit that was begun and did not come back has one strike; those that came back are
done; at two strikes a unit is given up. From the second pass on, units are alone in their actors,
so that only the guilty get a second strike. Each pass ends a unit or strikes one, or else the run
ends: there is no endless retry.
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
_SILENCE_S = 1200.0  # a decoder that hangs is given up, and told of, after 600 s
_STRIKES = 2
_END = object()

Tell = Callable[[str, Any], None]
"""Says something about a unit on its way: its id, and news that can be pickled."""

Work = Callable[[Mapping[str, Any], Tell], Iterator[tuple[str, Any]]]
"""Units, id -> unit, to results, (id, result), in any order."""


@dataclass(frozen=True)
class Begun:
    """An actor has a unit in its hands; `news` is what it tells of it, None at first."""

    id: str
    news: Any = None


@dataclass(frozen=True)
class Done:
    """A unit is done."""

    id: str
    result: Any


@dataclass(frozen=True)
class GivenUp:
    """A unit's actor died with it twice, on its own the second time."""

    id: str


class ActorPool:
    """Actors that all do the same.

    Args:
        ray: connected.
        make: called in every actor, once, for what does its work; can be pickled.
        room: how many actors, and what each takes.
        together: units in the hands of an actor at once.
    """

    def __init__(self, ray: Any, make: Callable[[], Work], room: Resources, *, together: int = 1):
        self._ray, self._make, self._room, self._together = ray, make, room, together

    def run(
        self, units: Mapping[str, Any], is_stopped: Callable[[], bool]
    ) -> Iterator[Begun | Done | GivenUp]:
        """Yields what becomes of every unit, and news in between.

        Args:
            units: id -> what `make`'s work takes; handed out in this order.
            is_stopped: asked several times a second; True ends it all.

        Raises:
            ClusterFailed: the work failed of something that is not the unit's fault, or nothing
                was heard for long.
        """
        left, strikes, together = dict(units), Counter[str](), self._together
        while left and not is_stopped():
            begun: set[str] = set()
            before = len(left)
            for news in self._pass(left, together, is_stopped):
                if news.id not in left:  # said before it ended, heard after
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
            strikes.update(lost)
            for id in sorted(id for id in lost if strikes[id] >= _STRIKES):
                del left[id]
                yield GivenUp(id)
            together = 1

    def _pass(
        self, units: Mapping[str, Any], together: int, is_stopped: Callable[[], bool]
    ) -> Iterator[Begun | Done]:
        """Hands out every unit once."""
        board = self._board()
        rows: queue.SimpleQueue[Any] = queue.SimpleQueue()
        dataset = self._dataset(units, together, board)
        threading.Thread(target=_consume, args=(dataset, rows), daemon=True).start()
        heard = time.monotonic()
        while not is_stopped():
            row = _next(rows)
            told = self._ray.get(board.take.remote())
            yield from (Begun(id, news) for id, news in told.items())
            if row is _END:
                return
            if isinstance(row, Done):
                yield row
            if told or row is not None:
                heard = time.monotonic()
            elif time.monotonic() - heard > _SILENCE_S:
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
        context.max_errored_blocks = -1  # what is lost is handed out again
        context.execution_no_progress_timeout_s = -1  # a day of video is one block, and takes hours
        strategy = self._ray.data.ActorPoolStrategy(
            size=min(self._room.actors, len(rows)), max_tasks_in_flight_per_actor=2
        )
        with warnings.catch_warnings():  # Ray 2.60 has no other way to say max_task_retries
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
    """What Ray Data calls in an actor: units in, results out; an exception is a result, too."""

    def __init__(self, make: Callable[[], Work], board: Any) -> None:
        self._board = board
        try:
            self._work: Work = make()
        except Exception as error:  # raised here, Ray would start the actor again, or wrap it
            self._work = _Unfit(error)

    def __call__(self, rows: Mapping[str, Any]) -> dict[str, list[Any]]:
        """Takes columns `id` and `unit`; returns columns `id` and `result`, pickled."""
        import ray

        units = {str(id): pickle.loads(u) for id, u in zip(rows["id"], rows["unit"], strict=True)}
        # Waited for: what kills this process at once must have been seen to begin.
        ray.get(self._board.begin.remote(list(units)))
        results: dict[str, Any] = {}
        try:
            results.update(self._work(units, self._tell))
        except Exception as error:
            host = ray.util.get_node_ip_address()
            results = dict.fromkeys(
                units, _Failure(f"node {host}: {type(error).__name__}: {error}")
            )
        return {"id": list(results), "result": [pickle.dumps(r) for r in results.values()]}

    def _tell(self, id: str, news: Any) -> None:
        self._board.tell.remote(id, news)


class ProgressBoard:
    """The latest news of each unit, until they are taken; an actor beside the driver."""

    def __init__(self) -> None:
        self._news: dict[str, Any] = {}

    def begin(self, ids: list[str]) -> None:
        """Notes that these are in the hands of an actor."""
        self._news.update(dict.fromkeys(ids))

    def tell(self, id: str, news: Any) -> None:
        """Notes how far one is."""
        self._news[id] = news

    def take(self) -> dict[str, Any]:
        """Returns what was noted since the last call."""
        taken, self._news = self._news, {}
        return taken


@dataclass(frozen=True)
class _Failure:
    """What ended the work, and is not the unit's fault."""

    why: str


class _Unfit:
    """The work of an actor that could not get ready: to say so."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def __call__(self, units: Mapping[str, Any], tell: Tell) -> Iterator[tuple[str, Any]]:
        raise self._error


def _consume(dataset: Any, rows: "queue.SimpleQueue[Any]") -> None:
    """Runs a dataset; its rows go into the queue as they come, then its end or its error."""
    try:
        for batch in dataset.iter_batches(batch_size=None, prefetch_batches=0):
            for id, result in zip(batch["id"], batch["result"], strict=True):
                rows.put(Done(str(id), pickle.loads(result)))
        rows.put(_END)
    except Exception as error:
        rows.put(error)


def _next(rows: "queue.SimpleQueue[Any]") -> Any:
    """Returns the next row, `_END`, or None when none came for a while.

    Raises:
        ClusterFailed: the work ended of something else than a unit.
    """
    try:
        row = rows.get(timeout=_TICK_S)
    except queue.Empty:
        return None
    if isinstance(row, Exception):
        said = str(row).strip().splitlines() or [type(row).__name__]
        raise ClusterFailed(f"Ray Data: {said[-1]}") from row
    if isinstance(row, Done) and isinstance(row.result, _Failure):
        raise ClusterFailed(row.result.why)
    return row
