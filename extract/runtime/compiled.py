"""Compiled execution of a trunk for a few batch sizes, and CUDA graphs of it.

Where compilation or capture fails, the trunk runs eagerly, and the log states why.
"""

import logging
import subprocess
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from extract.encoders.swin.static_shapes import specialise
from extract.encoders.torch_encoder import TorchEncoder
from extract.runtime.precision import LEAST_COSINE, in_precision, least_cosine

logger = logging.getLogger(__name__)

ExecutionMode = Literal["eager", "compiled", "graph", "compiled-graph"]
"""Execution of a trunk: eager, by torch's compiler, replayed as a CUDA graph, or both."""

BATCH_SIZES = (1, 4, 16, 64)
LEAST_COSINE_FP32 = 0.99999
"""Least cosine of vectors of a compiled trunk and of the same trunk run eagerly, in fp32."""

# Of a missing or failing compiler, or a graph that cannot be captured.
_FAILURES = (RuntimeError, ImportError, OSError, subprocess.SubprocessError)

Run = Callable[[Tensor], Tensor]


def prepare(
    encoder: TorchEncoder,
    *,
    precision: str = "fp32",
    execution: ExecutionMode = "eager",
    batch_sizes: Sequence[int] = BATCH_SIZES,
) -> TorchEncoder:
    """Returns the encoder in its precision and execution, checked against its features before.

    Args:
        encoder: in fp32, on the device that will run it.
        precision: see `in_precision`.
        execution: of the trunk; one that fails on this machine falls back to "eager".
        batch_sizes: of executions other than "eager".

    Raises:
        ValueError: the precision or the execution is unknown or unavailable, or the precision
            changes the features.
    """
    if execution not in get_args(ExecutionMode):
        raise ValueError(
            f"unknown execution {execution!r}; known: {', '.join(get_args(ExecutionMode))}"
        )
    if "graph" in execution and encoder.device.type != "cuda":
        raise ValueError(f"CUDA graphs need a CUDA device, the encoder is on {encoder.device}")
    ready = in_precision(encoder, precision)
    if execution != "eager":
        window = (3, *ready.contract.window_shape)
        ready.run = FixedBatches(ready.trunk, window, execution=execution, sizes=batch_sizes)
    return ready


def cut_batch(count: int, sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yields (windows, size of their batch) until no window is left; one of the sizes is 1.

    The rest goes into the next larger size if that is at most twice as much; otherwise the largest
    size that is full goes first. So padding at most doubles the work.
    """
    while count:
        size = min((s for s in sizes if count <= s <= 2 * count), default=0)
        size = size or max(s for s in sizes if s <= count)
        yield min(count, size), size
        count -= min(count, size)


class FixedBatches:
    """Runs a trunk on batches of a few sizes, each compiled or captured beforehand.

    Attributes:
        fallback: why the trunk runs eagerly; None if it does not.
    """

    def __init__(
        self,
        trunk: nn.Module,
        window: tuple[int, ...],
        *,
        execution: ExecutionMode,
        sizes: Sequence[int],
    ) -> None:
        """Compiles or captures every size and compares its features with the eager trunk's.

        Args:
            trunk: in evaluation mode, on its device.
            window: shape of a window's pixels, (3, T, H, W).
            execution: not "eager".
            sizes: windows in a batch; 1 is always among them.
        """
        if min(sizes, default=1) < 1:
            raise ValueError(f"expected batch sizes >= 1, got {list(sizes)}")
        self._trunk = trunk
        self._runs: dict[int, Run] = {}
        self.fallback: str | None = None
        try:
            for size in sorted({1, *sizes}, reverse=True):
                self._runs[size] = self._compiled((size, *window), execution)
        except _FAILURES as error:
            reason = str(error).strip().splitlines() or [""]
            self.fallback = f"{type(error).__name__}: {reason[0]}"
            self._runs.clear()
            logger.warning("the trunk runs eagerly, %s failed: %s", execution, self.fallback)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Returns features, (B, dim), of a batch of any size.

        Args:
            pixels: (B, 3, T, H, W), on the trunk's device and of its type.
        """
        if self.fallback is not None:
            features: Tensor = self._trunk(pixels)
            return features
        rows, done = [], 0
        for count, size in cut_batch(len(pixels), list(self._runs)):
            batch = pixels[done : done + count]
            if count < size:
                batch = torch.cat([batch, batch.new_zeros(size - count, *batch.shape[1:])])
            rows.append(self._runs[size](batch.contiguous())[:count])
            done += count
        return rows[0] if len(rows) == 1 else torch.cat(rows)

    @torch.inference_mode()
    def _compiled(self, shape: tuple[int, ...], execution: ExecutionMode) -> Run:
        # In inference mode, as all later inputs: for others it would be compiled again.
        pixels = _probe(self._trunk, shape)
        run = _traced(self._trunk, shape)
        if execution.startswith("compiled"):
            run = torch.compile(run, fullgraph=True, dynamic=False)
        if execution.endswith("graph"):
            run = _Graph(run, pixels)
        least = LEAST_COSINE_FP32 if pixels.dtype is torch.float32 else LEAST_COSINE
        if not (cosine := least_cosine(run(pixels), self._trunk(pixels))) >= least:
            raise RuntimeError(f"features differ from the eager trunk's (cosine {cosine:.6f})")
        return run


def _traced(trunk: nn.Module, shape: tuple[int, ...]) -> Run:
    """Returns the trunk for one shape as an exported graph with a code object of its own.

    With shared code the compiler would count each size as a recompilation of another.
    """
    with torch.inference_mode(False), torch.no_grad():
        pixels = _probe(trunk, shape)
        run: Run = torch.export.export(specialise(trunk, pixels), (pixels,)).module()
    return run


class _Graph:
    """CUDA graph: a call on tensors of one shape, captured once and replayed."""

    def __init__(self, run: Run, pixels: Tensor) -> None:
        self._input = pixels.clone()
        # Warmed up on a stream of its own: autotuning and compilation must not be captured.
        stream = torch.cuda.Stream(pixels.device)
        stream.wait_stream(torch.cuda.current_stream(pixels.device))
        with torch.cuda.stream(stream):
            for _ in range(3):
                run(self._input)
        torch.cuda.current_stream(pixels.device).wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        # A reload captures on a thread of its own, while the model's thread goes on with the GPU.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._output = run(self._input)

    def __call__(self, pixels: Tensor) -> Tensor:
        self._input.copy_(pixels)
        self._graph.replay()
        return self._output.clone()  # the next replay overwrites it


def _probe(trunk: nn.Module, shape: tuple[int, ...]) -> Tensor:
    weight = next(trunk.parameters())
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator).to(weight)
