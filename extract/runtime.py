"""Which runtime makes the features: torch or ONNX Runtime, as told or as measured on this machine.

For serving alone. What is trained, evaluated or stored should not depend on a race, so there the
runtime is torch.
"""

import json
import logging
import math
import os
import platform
import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch

from extract.encoder import VideoEncoder
from extract.errors import RuntimeUnavailable
from extract.onnx_encoder import OnnxEncoder, ProviderName, available_providers
from extract.onnx_export import TOLERANCE, greatest_difference, made_up_windows
from extract.torch_encoder import TorchEncoder

logger = logging.getLogger(__name__)

RuntimeName = Literal["auto", "torch", "onnx"]
Times = dict[str, dict[str, float]]
"""Windows in a batch, as JSON spells them -> runtime -> milliseconds."""

MARGIN = 1.1
"""ONNX Runtime has to be so many times as fast, or torch stays: near a draw nothing should flap."""
BATCHES = (1, 14)
"""One window, and those of an 8 s clip."""
BUDGET_S = 2.0
"""Measuring ends with the round, or the batch size, that passes this."""
MAX_ROUNDS = 9


@dataclass(frozen=True)
class Runtime:
    """What is asked for.

    Attributes:
        name: "auto" measures, or remembers what was measured, and takes the faster.
        provider: of ONNX Runtime; None follows the device.
        cache: folder that remembers measurements; None remembers nothing.
    """

    name: RuntimeName = "torch"
    provider: ProviderName | None = None
    cache: Path | None = None


TORCH = Runtime()


@dataclass(frozen=True)
class Choice:
    """What was chosen.

    Attributes:
        name: "torch" or "onnx".
        device: where it runs.
        reason: why, in a sentence.
        times_ms: what was measured, now or before; empty where nothing had to be.
    """

    name: Literal["torch", "onnx"]
    device: str
    reason: str
    times_ms: Times = field(default_factory=dict)


def choose_encoder(
    encoder: TorchEncoder, graph: bytes, runtime: Runtime
) -> tuple[VideoEncoder, Choice]:
    """Returns an encoder that makes `encoder`'s features, and why it is this one.

    Args:
        encoder: on the device where it is to run.
        graph: its `encoder.onnx`; empty if there is none.
        runtime: what is asked for.

    Raises:
        RuntimeUnavailable: ONNX Runtime was asked for and cannot run it.
        ValueError: the graph is not this encoder's.
    """
    chosen, choice = _choose(encoder, graph, runtime)
    logger.info("encoder %s runs in %s: %s", encoder.name, choice.name, choice.reason)
    return chosen, choice


def _choose(
    encoder: TorchEncoder, graph: bytes, runtime: Runtime
) -> tuple[VideoEncoder, Choice]:
    device = encoder.device.type
    provider: Any = runtime.provider or device
    if runtime.name == "torch":
        return encoder, Choice("torch", device, "as set")
    if runtime.name == "onnx":
        if not graph:
            raise RuntimeUnavailable(
                f"the bundle has no ONNX graph of encoder {encoder.name!r}: add one with "
                "python -m extract.onnx_export BUNDLE, or set the runtime to torch"
            )
        return OnnxEncoder(encoder, graph, provider=provider), Choice("onnx", provider, "as set")
    if not graph:
        return encoder, Choice("torch", device, "the bundle has no ONNX graph")
    if provider not in available_providers():
        there = ", ".join(available_providers())
        reason = f"ONNX Runtime has no {provider} provider here, only {there}"
        return encoder, Choice("torch", device, reason)
    other = OnnxEncoder(encoder, graph, provider=provider)
    facts = machine_facts(encoder, graph, provider)
    times = recall(runtime.cache, facts)
    if times is None:
        difference = _difference(encoder, other)
        if not difference <= TOLERANCE:
            reason = f"ONNX Runtime's features differ by {difference:.1e} here"
            logger.warning("%s: %s", encoder.name, reason)
            return encoder, Choice("torch", device, reason)
        times = measure({"torch": encoder, "onnx": other})
        remember(runtime.cache, facts, times)
    gain = times_faster(times)
    reason = f"measured: ONNX Runtime is {gain:.2f} times as fast, {MARGIN} are asked for"
    if gain >= MARGIN:
        return other, Choice("onnx", provider, reason, times)
    return encoder, Choice("torch", device, reason, times)


def times_faster(times: Times) -> float:
    """Returns how many times as fast as torch ONNX Runtime is: the mean over batch sizes.

    A geometric mean, so that it is the inverse of torch's, and no batch size outweighs another.
    """
    return statistics.geometric_mean(of["torch"] / of["onnx"] for of in times.values())


def measure(encoders: Mapping[str, VideoEncoder], *, budget_s: float = BUDGET_S) -> Times:
    """Returns the least time each takes by the clock; they take turns on the same windows."""
    times: Times = {}
    started_s = time.perf_counter()
    for batch in BATCHES:
        windows = made_up_windows(next(iter(encoders.values())).contract, batch)
        least = dict.fromkeys(encoders, math.inf)
        for turn in range(MAX_ROUNDS):
            for name, encoder in encoders.items():
                since_s = time.perf_counter()
                encoder.encode(windows).cpu()  # the copy waits for the device
                least[name] = min(least[name], 1000 * (time.perf_counter() - since_s))
            if turn and time.perf_counter() - started_s > budget_s * len(times or [1]):
                break
        times[str(batch)] = {name: round(ms, 3) for name, ms in least.items()}
        if time.perf_counter() - started_s > budget_s:
            break
    return times


def machine_facts(encoder: TorchEncoder, graph: bytes, provider: str) -> dict[str, object]:
    """Returns everything on which a measurement depends; another fact asks for another one."""
    return {
        "encoder": encoder.fingerprint,
        "graph": sha256(graph).hexdigest(),
        "device": _device_name(encoder.device),
        "precision": str(next(iter(encoder.state_dict().values())).dtype),
        "provider": provider,
        "threads": torch.get_num_threads(),
        "cores": len(os.sched_getaffinity(0)),
        "torch": version("torch"),
        "onnxruntime": onnxruntime_version(),
    }
