"""Choice of an encoder's runtime and execution, as set or as measured on this machine.

"auto" is for serving; training, evaluation and stored features use torch.
"""

import logging
import math
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Literal

from extract.encoders.encoder import VideoEncoder
from extract.encoders.swin.trunk import SwinConfig
from extract.encoders.torch_encoder import TorchEncoder
from extract.errors import RuntimeUnavailable
from extract.runtime.compiled import ExecutionMode, prepare
from extract.runtime.measurements import Times, load, machine_facts, save
from extract.runtime.onnx_encoder import OnnxEncoder
from extract.runtime.onnx_export import (
    TOLERANCE,
    greatest_difference,
    is_exportable,
    made_up_windows,
)
from extract.runtime.onnx_session import VERSION, available_providers

logger = logging.getLogger(__name__)

RuntimeName = Literal["auto", "torch", "onnx"]
PrecisionName = Literal["fp32", "bf16", "fp16", "fp8"]
ExecutionName = Literal["auto", ExecutionMode]
FASTER: ExecutionMode = "kernels-graph"
"""Execution that "auto" measures beside "eager"."""

MARGIN = 1.1
"""Least speed-up with which the other way is chosen, so that the choice is stable."""
BATCHES = (1, 14)
"""Batch sizes: one window, and those of an 8 s clip."""
BUDGET_S = 2.0
"""Time limit of all measurements; a call under way is finished."""
MAX_ROUNDS = 9


@dataclass(frozen=True)
class Runtime:
    """Settings of the runtime.

    Attributes:
        name: "auto" takes the faster one, by a measurement made now or cached.
        provider: of ONNX Runtime: cpu, cuda or tensorrt; None follows the encoder's device.
        cache: folder of cached measurements and of TensorRT's engines; None caches nothing.
        precision: one of `precision.PRECISIONS`; other than fp32 in torch only.
        execution: see `compiled.ExecutionMode`; other than "eager" in torch only. "auto" takes the
            faster of `FASTER` and "eager" for a video Swin on a GPU, "eager" elsewhere.
    """

    name: RuntimeName = "torch"
    provider: str | None = None
    cache: Path | None = None
    precision: PrecisionName = "fp32"
    execution: ExecutionName = "eager"

    @property
    def is_plain(self) -> bool:
        """Whether any runtime supports the precision and execution."""
        return self.precision == "fp32" and self.execution in ("auto", "eager")


TORCH = Runtime()
"""For results that must not depend on the machine's speed."""


@dataclass(frozen=True)
class Choice:
    """The chosen runtime.

    Attributes:
        name: "torch" or "onnx".
        provider: torch's device, or ONNX Runtime's provider.
        reason: in a sentence.
        times_ms: measurements; empty where none was needed.
    """

    name: Literal["torch", "onnx"]
    provider: str
    reason: str
    times_ms: Times = field(default_factory=dict)


def choose_encoder(
    encoder: TorchEncoder, graph: bytes, runtime: Runtime
) -> tuple[VideoEncoder, Choice]:
    """Returns the encoder in its runtime, and the choice.

    Args:
        encoder: on the device where it is to run.
        graph: its `encoder.onnx`; empty if there is none.
        runtime: the settings.

    Raises:
        RuntimeUnavailable: the runtime is not there, or changes the features.
        ValueError: the graph is not this encoder's.
    """
    chosen: VideoEncoder = encoder
    if runtime.execution == "auto" and runtime.name != "onnx" and _has_executions(encoder):
        chosen, choice = _faster_execution(encoder, runtime)
    elif not runtime.is_plain:
        chosen, choice = _prepared(encoder, runtime)
    elif runtime.name == "torch":
        choice = _torch(encoder, "as set")
    elif runtime.name == "onnx":
        chosen, choice = _onnx_as_set(encoder, graph, runtime)
    else:
        chosen, choice = _faster(encoder, graph, runtime)
    where = f"{choice.name} on {choice.provider}"
    logger.info("encoder %s runs in %s: %s", encoder.name, where, choice.reason)
    return chosen, choice


def times_faster(times: Times, *, than: str = "torch", way: str = "onnx") -> float:
    """Returns the speed-up of a way over another: the geometric mean over batch sizes."""
    return statistics.geometric_mean(row[than] / row[way] for row in times.values())


def measure(encoders: Mapping[str, VideoEncoder], *, budget_s: float = BUDGET_S) -> Times:
    """Returns the least wall-clock milliseconds for each batch size; the encoders alternate.

    Larger batches are not measured once one batch exceeds the budget.
    """
    times: Times = {}
    contract = next(iter(encoders.values())).contract
    for batch in BATCHES:
        windows = made_up_windows(contract, batch)
        least = dict.fromkeys(encoders, math.inf)
        started_s = time.perf_counter()
        for _ in range(MAX_ROUNDS):
            for name, encoder in encoders.items():
                since_s = time.perf_counter()
                encoder.encode(windows).cpu()  # the copy waits for the device
                least[name] = min(least[name], time.perf_counter() - since_s)
            if time.perf_counter() - started_s > budget_s / len(BATCHES):
                break
        times[str(batch)] = {name: round(1000 * s, 3) for name, s in least.items()}
        if sum(least.values()) > budget_s:
            break
    return times


def _prepared(encoder: TorchEncoder, runtime: Runtime) -> tuple[VideoEncoder, Choice]:
    if runtime.name == "onnx":
        raise RuntimeUnavailable(
            "ONNX Runtime runs fp32 graphs as they are: set precision to fp32 and execution to "
            "eager, or the runtime to torch"
        )
    execution = "eager" if runtime.execution == "auto" else runtime.execution
    try:
        ready = prepare(encoder, precision=runtime.precision, execution=execution)
    except ValueError as error:
        raise RuntimeUnavailable(str(error)) from error
    return ready, _torch(ready, f"only torch runs {runtime.precision}, {execution}")


def _has_executions(encoder: TorchEncoder) -> bool:
    return encoder.device.type == "cuda" and isinstance(encoder.config, SwinConfig)


def _faster_execution(encoder: TorchEncoder, runtime: Runtime) -> tuple[VideoEncoder, Choice]:
    plain, _ = _prepared(encoder, replace(runtime, execution="eager"))
    assert isinstance(plain, TorchEncoder)
    facts = machine_facts(encoder.device) | {"encoder": plain.fingerprint, "execution": FASTER}
    times, source = load(runtime.cache, facts), "measured before"
    other = TorchEncoder(plain.name, plain.config, plain.contract, plain.trunk, plain.origin)
    if times is None or times_faster(times, than="eager", way=FASTER) >= MARGIN:
        other = prepare(other, precision=runtime.precision, execution=FASTER)
    if times is None:
        times, source = measure({"eager": plain, FASTER: other}), "measured now"
        save(runtime.cache, facts, times)
    gain = times_faster(times, than="eager", way=FASTER)
    reason = f"{source}: {FASTER} is {gain:.2f} times as fast, {MARGIN} times are asked for"
    return (other if gain >= MARGIN else plain), _torch(plain, reason, times)


def _onnx_as_set(
    encoder: TorchEncoder, graph: bytes, runtime: Runtime
) -> tuple[VideoEncoder, Choice]:
    if not graph and not is_exportable(encoder):
        raise RuntimeUnavailable(
            f"there is no ONNX export of encoder {encoder.name!r}, which is of kind "
            f"{encoder.config.kind}: set the runtime to torch"
        )
    if not graph:
        raise RuntimeUnavailable(
            f"there is no ONNX graph of encoder {encoder.name!r}: add one to its bundle with "
            "python -m extract.runtime.onnx_export BUNDLE, or set the runtime to torch"
        )
    provider = runtime.provider or encoder.device.type
    chosen = OnnxEncoder(encoder, graph, provider=provider, cache=runtime.cache)
    return chosen, Choice("onnx", provider, "as set")


def _faster(encoder: TorchEncoder, graph: bytes, runtime: Runtime) -> tuple[VideoEncoder, Choice]:
    provider = runtime.provider or encoder.device.type
    if not graph:
        why = "its bundle has none" if is_exportable(encoder) else "no export of such a network"
        return encoder, _torch(encoder, f"there is no ONNX graph: {why}")
    if provider not in available_providers():
        there = ", ".join(available_providers())
        return encoder, _torch(encoder, f"ONNX Runtime has no {provider} provider, only {there}")
    other = OnnxEncoder(encoder, graph, provider=provider, cache=runtime.cache)
    facts = machine_facts(encoder.device) | {
        "encoder": encoder.fingerprint,
        "precision": str(next(encoder.trunk.parameters()).dtype),
        "graph": sha256(graph).hexdigest(),
        "onnxruntime": VERSION,
        "provider": provider,
    }
    times = load(runtime.cache, facts)
    source = "measured before"
    if times is None:
        windows = made_up_windows(encoder.contract, 2)
        difference = greatest_difference(encoder.encode(windows), other.encode(windows))
        if not difference <= TOLERANCE:
            return encoder, _torch(encoder, f"ONNX Runtime's features differ by {difference:.1e}")
        times, source = measure({"torch": encoder, "onnx": other}), "measured now"
        save(runtime.cache, facts, times)
    gain = times_faster(times)
    reason = f"{source}: ONNX Runtime is {gain:.2f} times as fast, {MARGIN} times are asked for"
    if gain < MARGIN:
        return encoder, _torch(encoder, reason, times)
    return other, Choice("onnx", provider, reason, times)


def _torch(encoder: TorchEncoder, reason: str, times: Times | None = None) -> Choice:
    return Choice("torch", encoder.device.type, reason, times or {})
