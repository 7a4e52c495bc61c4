"""Capacity plan: machines for a load, and its bottlenecks."""

from dataclasses import dataclass, field

from bench.capacity.demand import Demand


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
