"""Waiting in closed form: Erlang C, and Allen and Cunneen's correction for times that vary less.

A queue's wait is 0 with some probability and else exponential, which is exact for M/M/c. Waits of
queues in a row and the service itself are independent here, so that their sum is a convolution.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_STEPS = 4096
"""Of the grid on which waits are added up."""


@dataclass(frozen=True)
class Wait:
    """How long one queue is waited in: P(W > t) = probability * exp(-t / mean_s).

    Attributes:
        probability: that there is a wait at all.
        mean_s: of those who wait.
    """

    probability: float
    mean_s: float

    def quantile_s(self, share: float) -> float:
        """Returns what this share of the waits does not exceed."""
        beyond = 1 - share
        if self.probability <= beyond:
            return 0.0
        return self.mean_s * math.log(self.probability / beyond)


NO_WAIT = Wait(0.0, 0.0)
ENDLESS = Wait(1.0, math.inf)
"""More comes than leaves."""


def erlang_c(servers: int, load: float) -> float:
    """Returns the probability that all c servers are busy, M/M/c.

    The load a < c is arrivals a second times seconds of service.
    """
    if load >= servers:
        return 1.0
    blocked = 1.0  # Erlang B, by its recursion in the number of servers
    for count in range(1, servers + 1):
        blocked = load * blocked / (count + load * blocked)
    return blocked / (1 - load / servers * (1 - blocked))


def allen_cunneen(
    servers: int, rate: float, service_s: float, *, service_scv: float, arrival_scv: float = 1.0
) -> Wait:
    """Returns the wait of G/G/c: W = C(c, a) / (c / s - rate) * (ca2 + cs2) / 2.

    Args:
        servers: c.
        rate: arrivals a second.
        service_s: s, the mean of a service.
        service_scv: cs2, variance of a service over its squared mean.
        arrival_scv: ca2, of the times between arrivals; 1 for Poisson arrivals.
    """
    load = rate * service_s
    if load <= 0:
        return NO_WAIT
    if load >= servers:
        return ENDLESS
    spare = servers / service_s - rate
    return Wait(erlang_c(servers, load), (arrival_scv + service_scv) / 2 / spare)


def squared_variation(values: Sequence[float], shares: Sequence[float]) -> float:
    """Returns the variance over the squared mean of values with these probabilities."""
    mean = sum(s * v for s, v in zip(shares, values, strict=True))
    if mean == 0:
        return 0.0
    square = sum(s * v * v for s, v in zip(shares, values, strict=True))
    return max(0.0, square / mean**2 - 1)


def sojourn_quantile_s(
    waits: Sequence[Wait], services_s: Sequence[float], shares: Sequence[float], share: float
) -> float:
    """Returns what this share of all sojourns, waits and service together, does not exceed.

    Waits are those of queues in a row; each kind has a service time and a share, one in all.
    """
    if any(math.isinf(wait.mean_s) for wait in waits):
        return math.inf
    beyond = (1 - share) / (len(waits) + 1)
    longest_s = sum(wait.quantile_s(1 - beyond) for wait in waits)  # more than the sum's own
    if longest_s == 0:
        return _quantile(np.asarray(services_s), np.asarray(shares), share)
    step_s = longest_s / _STEPS
    grid = np.zeros(2 * _STEPS)
    grid[0] = 1.0
    for wait in waits:
        grid = _convolve(grid, _on_grid(wait, step_s))
    places = np.arange(len(grid)) * step_s
    times = np.add.outer(np.asarray(services_s), places).ravel()
    weights = np.multiply.outer(np.asarray(shares), grid).ravel()
    return _quantile(times, weights, share)


def _on_grid(wait: Wait, step_s: float) -> NDArray[np.float64]:
    """Probabilities of the steps, each wait rounded to the nearest."""
    places = np.arange(2 * _STEPS) * step_s
    if wait.mean_s == 0:
        above = np.zeros(2 * _STEPS)
    else:
        above = wait.probability * np.exp(-(places + step_s / 2) / wait.mean_s)
    return -np.diff(above, prepend=1.0)


def _convolve(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    size = len(one)
    spectrum = np.fft.rfft(one, 2 * size) * np.fft.rfft(other, 2 * size)
    summed: NDArray[np.float64] = np.fft.irfft(spectrum, 2 * size)[:size].clip(0)
    return summed


def _quantile(values: NDArray[np.float64], weights: NDArray[np.float64], share: float) -> float:
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    place = int(np.searchsorted(reached, share - 1e-9))
    return float(values[order][min(place, len(values) - 1)])
