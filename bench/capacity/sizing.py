"""Sizing: the fewest machines within the limits of utilisation and latency."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from bench.capacity.costs import Costs, Queue
from bench.capacity.demand import Demand, Terms
from bench.capacity.queues import sojourn_quantile_s
from bench.capacity.rates import Rates

MOST = 10_000_000
"""Limit of machines; more do not help a target that one idle machine misses."""


@dataclass(frozen=True)
class Resource:
    """A resource with limited throughput.

    Attributes:
        name: of it.
        count: how many there are.
        each: clips a second that one can do at its limit.
    """

    name: str
    count: int
    each: float

    @property
    def clips_per_s(self) -> float:
        """Clips a second that all of them can do."""
        return self.count * self.each


@dataclass(frozen=True)
class Plan:
    """Machines for a load.

    Attributes:
        demand: the load.
        boxes: machines without a GPU that do everything; 0 where GPUs encode.
        gpus: that encode.
        cores: in all.
        front_ends: processes that receive and reply.
        ram_gb: of all processes.
        in_gbit_s: of clips that come in.
        windows_gbit_s: between decoders and GPUs, where they are on different machines.
        writes_per_s: of jobs.
        p99_s: by closed form.
        per_hour: price.
        resources: all of them, the first to be full first.
    """

    demand: Demand
    boxes: int
    gpus: int
    cores: int
    front_ends: int
    ram_gb: float
    in_gbit_s: float
    windows_gbit_s: float
    writes_per_s: float
    p99_s: float
    per_hour: float
    resources: tuple[Resource, ...] = field(repr=False)

    @property
    def bottleneck(self) -> Resource:
        """The resource that saturates first."""
        return self.resources[0]

    @property
    def next_bottleneck(self) -> Resource:
        """The resource that saturates second."""
        return self.resources[1]

    @property
    def holds(self) -> bool:
        """Whether the load fits; a database, of which there is one, may be too small."""
        return self.demand.rate <= self.bottleneck.clips_per_s * (1 + 1e-9)

    @property
    def per_1000_hours(self) -> float:
        """Price of answering a thousand hours of video at this load."""
        return 1000 * self.per_hour / self.demand.streams

    def streams_at(self, resource: Resource) -> float:
        """Returns the streams at which a resource is at its limit."""
        return resource.clips_per_s * self.demand.seconds_per_clip


class Unreachable(ValueError):
    """No number of machines is enough: the target is shorter than an idle machine takes."""


def plan_boxes(demand: Demand, rates: Rates, terms: Terms) -> Plan:
    """Returns the fewest machines without a GPU; each runs one server, which does everything.

    Raises:
        Unreachable: an idle machine takes longer than the target.
    """
    per_clip = Costs(demand, rates)
    least = max(
        math.ceil(demand.rate / resource.clips_per_s)
        for resource in [*_of_boxes(1, per_clip, terms), _links(1, per_clip, terms)]
    )
    if per_clip.idle_s(per_clip.whole) > terms.target_s:
        raise _unreachable(per_clip.idle_s(per_clip.whole), terms)
    boxes = _fewest(lambda n: _box_p99_s(n, per_clip, terms) <= terms.target_s, max(1, least))
    cores = boxes * terms.box_cores
    decoders = _decoders(demand, boxes * terms.box_cores)
    memory_mb = boxes * rates["server_mb"] + decoders * rates["decoder_mb"]
    return Plan(
        demand=demand,
        boxes=boxes,
        gpus=0,
        cores=cores,
        front_ends=boxes,
        ram_gb=memory_mb / 1024,
        in_gbit_s=per_clip.gbit * demand.rate,
        windows_gbit_s=0.0,
        writes_per_s=per_clip.writes * demand.rate,
        p99_s=_box_p99_s(boxes, per_clip, terms),
        per_hour=cores * terms.core_hour,
        resources=_sorted([*_of_boxes(boxes, per_clip, terms), *_shared(boxes, per_clip, terms)]),
    )


def plan_gpus(demand: Demand, rates: Rates, terms: Terms) -> Plan:
    """Returns the fewest GPUs, cores for decoding and reasoning, and front ends.

    A queue that all share is assumed in front of each of the three. The time that the target
    leaves for waiting goes to the three alike, each with a part of the hundredth that may be
    late, so that the counts never fall when the load grows.

    Raises:
        Unreachable: an idle machine takes longer than the target.
    """
    per_clip = Costs(demand, rates)
    queues = _gpu_queues(per_clip, terms)
    beyond = 0.01 / (len(queues) + 1)
    idle_s = per_clip.idle_s(per_clip.on_gpu(terms.busy_gpus, terms), 1 - beyond)
    if idle_s >= terms.target_s:
        raise _unreachable(idle_s, terms)
    each_s = (terms.target_s - idle_s) / len(queues)
    front, cores, gpus = (
        _fewest(
            lambda n, q=queue: q.wait(n, demand.rate).quantile_s(1 - beyond) <= each_s,  # type: ignore[misc]
            max(1, math.ceil(demand.rate * queue.mean_s / queue.busy)),
        )
        for queue in queues
    )
    front = max(front, math.ceil(demand.rate / _links(1, per_clip, terms).each))
    waits = [q.wait(n, demand.rate) for q, n in zip(queues, (front, cores, gpus), strict=True)]
    at = demand.rate * queues[-1].mean_s / gpus
    p99_s = sojourn_quantile_s(waits, per_clip.on_gpu(at, terms), demand.shares, 0.99)
    memory_mb = (front + gpus) * rates["server_mb"]
    memory_mb += _decoders(demand, cores) * rates["decoder_mb"]
    all_cores = front + cores
    return Plan(
        demand=demand,
        boxes=0,
        gpus=gpus,
        cores=all_cores,
        front_ends=front,
        ram_gb=memory_mb / 1024,
        in_gbit_s=per_clip.gbit * demand.rate,
        windows_gbit_s=per_clip.windows_gbit * demand.rate,
        writes_per_s=per_clip.writes * demand.rate,
        p99_s=p99_s,
        per_hour=all_cores * terms.core_hour + gpus * terms.gpu_hour,
        resources=_sorted(
            [
                *(
                    Resource(queue.name, count, queue.busy / queue.mean_s)
                    for queue, count in zip(queues, (front, cores, gpus), strict=True)
                ),
                *_shared(front, per_clip, terms),
            ]
        ),
    )


def _decoders(demand: Demand, cores: int) -> float:
    """Decoding processes: one a core, or one a live stream."""
    return demand.streams if demand.is_live else cores


def _gpu_queues(costs: Costs, terms: Terms) -> list[Queue]:
    shares = costs.demand.shares
    return [
        Queue("front ends", costs.front, shares, terms.busy_loops),
        Queue("cores", costs.on_cores, shares, terms.busy_cores),
        Queue("GPUs", costs.encode_gpu, shares, terms.busy_gpus),
    ]


def _of_boxes(boxes: int, costs: Costs, terms: Terms) -> list[Resource]:
    mean = costs.demand.mean
    return [
        Resource("cores", boxes * terms.box_cores, terms.busy_cores / mean(costs.whole)),
        Resource("model threads", boxes, terms.busy_cores / mean(costs.model)),
        Resource("event loops", boxes, terms.busy_loops / mean(costs.front)),
    ]


def _links(count: int, costs: Costs, terms: Terms) -> Resource:
    return Resource("network", count, terms.busy_links * terms.link_gbit_s / costs.gbit)


def _shared(links: int, costs: Costs, terms: Terms) -> list[Resource]:
    """The network of the front ends, and the shared database."""
    if not costs.writes:
        return [_links(links, costs, terms)]
    database = Resource("database", 1, terms.writes_per_s / costs.writes)
    return [_links(links, costs, terms), database]


def _box_p99_s(boxes: int, costs: Costs, terms: Terms) -> float:
    """Callers are spread over the machines at random; on each they meet cores, then one thread."""
    shares, rate = costs.demand.shares, costs.demand.rate / boxes
    cores = Queue("cores", costs.whole, shares, terms.busy_cores)
    thread = Queue("model threads", costs.model, shares, terms.busy_cores)
    waits = [cores.wait(terms.box_cores, rate), thread.wait(1, rate)]
    return sojourn_quantile_s(waits, costs.whole, shares, 0.99)


def _fewest(is_enough: Callable[[int], bool], least: int) -> int:
    """Returns the smallest number from `least` on that is enough; more never are too many."""
    low, high = least - 1, least
    while not is_enough(high):
        low, high = high, 2 * high
        if high > MOST:
            raise Unreachable(f"even {MOST} machines are not enough")
    while high - low > 1:
        middle = (low + high) // 2
        if is_enough(middle):
            high = middle
        else:
            low = middle
    return high


def _sorted(resources: list[Resource]) -> tuple[Resource, ...]:
    return tuple(sorted(resources, key=lambda one: one.clips_per_s))


def _unreachable(idle_s: float, terms: Terms) -> Unreachable:
    return Unreachable(
        f"a p99 of {terms.target_s:g} s cannot be had: 99 of 100 clips take {idle_s:.2f} s on idle "
        "machines; ask for longer, or for shorter clips"
    )


def largest_for_one_box(demand: Demand, rates: Rates, terms: Terms) -> Demand:
    """Returns the same mix at the highest rate that one machine without a GPU is enough for."""
    low, high = 0.0, terms.box_cores / demand.mean(Costs(demand, rates).whole)
    for _ in range(40):
        rate = (low + high) / 2
        if plan_boxes(replace(demand, rate=rate), rates, terms).boxes == 1:
            low = rate
        else:
            high = rate
    return replace(demand, rate=low)
