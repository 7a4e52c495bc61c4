"""Terms of a plan: latency target, machines, limits of utilisation, prices."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Terms:
    """Target, machine sizes, limits and prices.

    Attributes:
        target_s: limit of the 99th percentile of latency.
        box_cores: cores of a machine without a GPU.
        busy_cores: limit of the cores' utilisation.
        busy_gpus: of the GPUs'.
        busy_loops: of the event loops'.
        batch_windows: most windows that a GPU encodes together.
        link_gbit_s: of the network of a front end or a machine.
        busy_links: limit of the links' utilisation.
        writes_per_s: that a database takes.
        core_hour: price of a core and its memory for an hour.
        gpu_hour: price of a GPU for an hour.
        currency: of both.
    """

    target_s: float = 2.0
    box_cores: int = 2
    busy_cores: float = 0.7
    busy_gpus: float = 0.8
    busy_loops: float = 0.5
    batch_windows: int = 64
    link_gbit_s: float = 10.0
    busy_links: float = 0.5
    writes_per_s: float = 2000.0
    core_hour: float = 0.04
    gpu_hour: float = 2.5
    currency: str = "EUR"
