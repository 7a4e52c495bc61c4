"""Costs of a mix of clips per resource, and their queues."""

from dataclasses import dataclass

from bench.capacity.demand import Clip, Demand, Terms
from bench.capacity.queues import Wait, allen_cunneen, sojourn_quantile_s, squared_variation
from bench.capacity.rates import Rates

WRITES_PER_JOB = 7
"""Rows that a job changes in the database, from its coming to its end: itself and an event, twice;
its claim; one renewal with news. Longer jobs add two for each third of a lease."""


class Costs:
    """What the kinds of a mix cost, each list in the order of the mix."""

    def __init__(self, demand: Demand, rates: Rates) -> None:
        clips: tuple[Clip, ...] = demand.clips
        self.demand, self.rates = demand, rates
        self.front = [rates.front_s for _ in clips]
        self.decode = [rates.decode_s(clip) for clip in clips]
        self.gbit = demand.seconds_per_clip * demand.mbit_per_s / 1000
        windows = demand.mean([clip.windows for clip in clips])
        self.windows_gbit = windows * rates.encoder.window_mb * 8 / 1000
        self.writes = demand.job_share * WRITES_PER_JOB

    @property
    def model(self) -> list[float]:
        """Seconds of the one thread that owns the model, while decoders hold all other cores."""
        return [self.rates.encode_s(clip) + self.rates.reason_s for clip in self.demand.clips]

    @property
    def whole(self) -> list[float]:
        """Seconds of one core."""
        parts = zip(self.front, self.decode, self.model, strict=True)
        return [sum(part) for part in parts]

    @property
    def on_cores(self) -> list[float]:
        """Seconds of one core where GPUs encode."""
        return [decode_s + self.rates.reason_s for decode_s in self.decode]

    @property
    def encode_gpu(self) -> list[float]:
        """Seconds of a GPU."""
        return [self.rates.encode_gpu_s(clip) for clip in self.demand.clips]

    def on_gpu(self, busy: float, terms: Terms) -> list[float]:
        """Seconds on a GPU's path without queueing.

        A clip leaves a GPU together with its batch, which holds what came while the batch before
        ran: of a GPU that is busy for this share, 1 / (1 - busy) clips, if so many fit.
        """
        clips = self.demand.clips
        full_s = terms.batch_windows / self.rates["windows_per_gpu_s"]
        batch = [max(own_s, min(full_s, own_s / max(1e-9, 1 - busy))) for own_s in self.encode_gpu]
        return [self.front[i] + self.on_cores[i] + batch[i] for i in range(len(clips))]

    def idle_s(self, services_s: list[float], share: float = 0.99) -> float:
        """Returns what this share of the clips takes on idle machines."""
        return sojourn_quantile_s([], services_s, self.demand.shares, share)


@dataclass(frozen=True)
class Queue:
    """A queue, and the service time of each kind of clip."""

    name: str
    services_s: list[float]
    shares: list[float]
    busy: float

    @property
    def mean_s(self) -> float:
        return sum(s * v for s, v in zip(self.shares, self.services_s, strict=True))

    def wait(self, count: int, rate: float) -> Wait:
        scv = squared_variation(self.services_s, self.shares)
        return allen_cunneen(count, rate, self.mean_s, service_scv=scv)
