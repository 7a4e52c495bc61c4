"""Stage costs as parameters of the simulation, in seconds of one core."""

from collections.abc import Mapping
from dataclasses import dataclass

from bench.capacity.queues import squared_variation


@dataclass(frozen=True)
class Law:
    """Linear cost of a batch: `fixed_s + each_s * size`."""

    fixed_s: float
    each_s: float

    def of(self, size: int) -> float:
        """Returns seconds of one core for a batch of so many."""
        return self.fixed_s + self.each_s * size


@dataclass(frozen=True)
class ClipCost:
    """One kind of clip.

    Attributes:
        windows: to encode.
        decode_s: seconds of decoding, one value for each time it was measured.
        receive_s: of the event loop, until the clip is on disk.
        reply_s: of the event loop, once there is an answer.
        caller_s: of the caller, where callers share the machine.
    """

    windows: int
    decode_s: tuple[float, ...]
    receive_s: float = 0.0
    reply_s: float = 0.0
    caller_s: float = 0.0

    @property
    def mean_decode_s(self) -> float:
        """Of decoding."""
        return sum(self.decode_s) / len(self.decode_s)


@dataclass(frozen=True)
class Stages:
    """Everything a clip costs.

    Attributes:
        clips: by kind.
        features: of the encoder, by windows.
        reason: by requests.
        features_scatter: measured over expected times, to draw from; 1 on average.
        parallel_loss: how much more work the encoder is when all cores share it.
        refuse_s: of the event loop, to refuse one.
        slowdown: of a core, while all others are busy.
    """

    clips: Mapping[str, ClipCost]
    features: Law
    reason: Law
    features_scatter: tuple[float, ...] = (1.0,)
    parallel_loss: float = 1.0
    refuse_s: float = 0.0
    slowdown: float = 1.0

    def work_s(self, kind: str) -> float:
        """Returns the seconds of one core that a clip costs without other load."""
        cost = self.clips[kind]
        model_s = self.features.of(cost.windows) + self.reason.of(1)
        front_s = cost.receive_s + cost.reply_s + cost.caller_s
        return cost.mean_decode_s + model_s + front_s

    def work_scv(self, shares: Mapping[str, float]) -> float:
        """Returns the squared variation of all work of a mix, decoding's own scatter included."""
        values: list[float] = []
        weights: list[float] = []
        for kind, share in shares.items():
            cost = self.clips[kind]
            rest_s = self.work_s(kind) - cost.mean_decode_s
            values += [rest_s + decode_s for decode_s in cost.decode_s]
            weights += [share / len(cost.decode_s)] * len(cost.decode_s)
        return squared_variation(values, weights)


@dataclass(frozen=True)
class Box:
    """One machine with one server on it, and its settings.

    Attributes:
        cores: of the machine.
        decoders: decoding processes.
        torch_threads: of the encoder, while no clip is being decoded.
        clips_ahead: decoded clips that may be in memory beside those being decoded.
        max_requests: admitted at once.
        max_queued_windows: of all admitted requests.
        max_batch_windows: encoded together.
        max_batch_requests: reasoned about together.
        max_wait_s: for batch mates.
        niceness: of decoders and the model's thread.
        grouped: whether Linux groups by session.
    """

    cores: int = 2
    decoders: int = 2
    torch_threads: int = 2
    clips_ahead: int = 4
    max_requests: int = 64
    max_queued_windows: int = 4096
    max_batch_windows: int = 64
    max_batch_requests: int = 16
    max_wait_s: float = 0.005
    niceness: int = 5
    grouped: bool = True
