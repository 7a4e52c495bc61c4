"""Faster execution of a trunk: in Triton's kernels, compiled for batch sizes, as CUDA graphs.

Where that fails, the trunk runs eagerly, and the log states why.
"""

import copy
import logging
import subprocess
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from extract.encoders.swin.attention import WindowStage
from extract.encoders.swin.float8 import Float8Linear
from extract.encoders.swin.kernels import launch_errors
from extract.encoders.swin.static_shapes import specialise
from extract.encoders.torch_encoder import TorchEncoder
from extract.runtime.precision import LEAST_COSINE, in_precision, least_cosine

logger = logging.getLogger(__name__)

ExecutionMode = Literal["eager", "kernels", "graph", "kernels-graph", "compiled", "compiled-graph"]
"""Execution of a trunk: eager, in Triton's kernels (video Swin), by torch's compiler; and each of
them replayed as a CUDA graph."""

COMPILED_SIZES = (1, 4, 16, 64)
GRAPH_SIZES = (1, 2)
"""Windows in a batch so small that launching its kernels takes longer than running them."""

LEAST_COSINE_FP32 = 0.99999
"""Least cosine of vectors of a compiled trunk and of the same trunk run eagerly, in fp32."""

Run = Callable[[Tensor], Tensor]


def prepare(
    encoder: TorchEncoder,
    *,
    precision: str = "fp32",
    execution: ExecutionMode = "eager",
    batch_sizes: Sequence[int] | None = None,
) -> TorchEncoder:
    """Returns the encoder in its precision and execution, checked against its features before.

    Args:
        encoder: in fp32, on the device that will run it.
        precision: see `in_precision`.
        execution: of the trunk; one that fails on this machine falls back to "eager".
        batch_sizes: to compile or capture; by default `COMPILED_SIZES` and `GRAPH_SIZES`.

    Raises:
        ValueError: the precision or the execution is unknown or unavailable, or the precision
            changes the features.
    """
    if execution not in get_args(ExecutionMode):
        raise ValueError(
            f"unknown execution {execution!r}; known: {', '.join(get_args(ExecutionMode))}"
        )
    for kind, name in (("graph", "CUDA graphs"), ("kernels", "Triton's kernels")):
        if kind in execution and not _is_gpu(encoder.device):
            raise ValueError(f"{name} need a CUDA device, the encoder is on {encoder.device}")
    ready = in_precision(encoder, precision)
    window, trunk = (3, *ready.contract.window_shape), ready.trunk
    if "kernels" in execution:
        trunk = ready.run = in_kernels(trunk, window)
    if execution not in ("eager", "kernels"):
        ready.run = FixedBatches(trunk, window, execution=execution, sizes=batch_sizes)
    return ready


def _is_gpu(device: torch.device) -> bool:
    return device.type == "cuda"


@torch.inference_mode()
def in_kernels(trunk: nn.Module, window: tuple[int, ...]) -> nn.Module:
    """Returns a copy that shares the parameters and runs in Triton's kernels.

    Every kernel is compiled and compared with torch's operators now. Where that fails, a warning
    says why, and the trunk itself is returned.

    Args:
        trunk: in evaluation mode, on its device.
        window: shape of a window's pixels, (3, T, H, W).
    """
    copied = copy.deepcopy(trunk, {id(tensor): tensor for tensor in trunk.parameters()}).eval()
    able = [m for m in copied.modules() if isinstance(m, WindowStage | Float8Linear)]
    try:
        if not able:
            raise RuntimeError("the kernels are those of a video Swin, which this network is not")
        for module in able:
            module.in_kernels = True
        pixels = _probe(trunk, (1, *window))
        _check(copied(pixels), trunk(pixels))
    except _failures() as error:
        logger.warning("the trunk runs in torch's operators, not in kernels: %s", _reason(error))
        return trunk
    finally:
        trunk.eval()  # drops position biases that were made for the comparison
    return copied


def _failures() -> tuple[type[Exception], ...]:
    """Returns errors of a missing or failing compiler, or a graph that cannot be captured."""
    return (RuntimeError, ImportError, OSError, subprocess.SubprocessError, *launch_errors())


def _check(found: Tensor, expected: Tensor) -> None:
    least = LEAST_COSINE_FP32 if found.dtype is torch.float32 else LEAST_COSINE
    if not (cosine := least_cosine(found, expected)) >= least:
        raise RuntimeError(f"features differ from the eager trunk's (cosine {cosine:.6f})")


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    # Triton's compiler shows the code first.
    line = lines[-1] if isinstance(error, launch_errors()) else lines[0]
    return f"{type(error).__name__}: {line}"


def cut_batch(count: int, sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yields (windows, size of their batch) until no window is left; one of the sizes is 1.

    The rest goes into the next larger size if that adds at most a quarter, or one window;
    otherwise the largest size that is full goes first.
    """
    while count:
        most = count + max(1, count // 4)
        size = min((s for s in sizes if count <= s <= most), default=0)
        size = size or max(s for s in sizes if s <= count)
        yield min(count, size), size
        count -= min(count, size)


class FixedBatches:
    """Runs a trunk on batches of a few sizes, each compiled or captured beforehand.

    A compiled trunk takes batches of any size in parts of these sizes. One that is not runs those
    of other sizes as it is: parts and padding would cost more than a graph saves.

    Attributes:
        fallback: why the trunk runs eagerly; None if it does not.
    """

    def __init__(
        self,
        trunk: nn.Module,
        window: tuple[int, ...],
        *,
        execution: ExecutionMode,
        sizes: Sequence[int] | None = None,
    ) -> None:
        """Compiles or captures every size and compares its features with the eager trunk's.

        Args:
            trunk: in evaluation mode, on its device.
            window: shape of a window's pixels, (3, T, H, W).
            execution: compiled, a graph, or both.
            sizes: windows in a batch; 1 is always among them. By default those that pay.
        """
        if min(sizes or (), default=1) < 1:
            raise ValueError(f"expected batch sizes >= 1, got {list(sizes or ())}")
        self._trunk = trunk
        self._is_compiled = "compiled" in execution
        captured = {1, *(sizes or GRAPH_SIZES)} if "graph" in execution else set()
        compiled = {1, *(sizes or COMPILED_SIZES)} if self._is_compiled else set()
        self._runs: dict[int, Run] = {}
        self.fallback: str | None = None
        try:
            # The largest first: graphs of smaller batches are captured into its memory.
            pool = torch.cuda.graph_pool_handle() if captured else None
            for size in sorted(captured | compiled, reverse=True):
                shape = (size, *window)
                self._runs[size] = self._made(shape, pool if size in captured else None)
        except _failures() as error:
            self.fallback = _reason(error)
            self._runs.clear()
            logger.warning("the trunk runs eagerly, %s failed: %s", execution, self.fallback)

    def __call__(self, pixels: Tensor) -> Tensor:
        """Returns features, (B, dim), of a batch of any size.

        Args:
            pixels: (B, 3, T, H, W), on the trunk's device and of its type.
        """
        if (run := self._runs.get(len(pixels))) is not None:
            return run(pixels.contiguous())
        if self.fallback is not None or not self._is_compiled:
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
    def _made(self, shape: tuple[int, ...], pool: Any) -> Run:
        # In inference mode, as all later inputs: for others it would be compiled again.
        pixels = _probe(self._trunk, shape)
        run = _traced(self._trunk, shape) if self._is_compiled else _fixed(self._trunk, shape)
        if self._is_compiled:
            run = torch.compile(run, fullgraph=True, dynamic=False)
        if pool is not None:
            run = _Graph(run, pixels, pool)
        _check(run(pixels), self._trunk(pixels))
        return run


def _fixed(trunk: nn.Module, shape: tuple[int, ...]) -> Run:
    """Returns the trunk for one shape: what it reads stays where it is, as a graph wants it."""
    with torch.inference_mode(False), torch.no_grad():
        return specialise(trunk, _probe(trunk, shape))


def _traced(trunk: nn.Module, shape: tuple[int, ...]) -> Run:
    """Returns the trunk for one shape as an exported graph with a code object of its own.

    With shared code the compiler would count each size as a recompilation of another.
    """
    with torch.inference_mode(False), torch.no_grad():
        pixels = _probe(trunk, shape)
        run: Run = torch.export.export(specialise(trunk, pixels), (pixels,)).module()
    return run


class _Graph:
    """CUDA graph: a call on tensors of one shape, captured once and replayed.

    Graphs that share memory are replayed one after the other, as one thread does.
    """

    def __init__(self, run: Run, pixels: Tensor, pool: Any) -> None:
        self._run = run  # a graph does not hold the tensors that it reads
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
        with torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"):
            self._output = run(self._input)

    def __call__(self, pixels: Tensor) -> Tensor:
        self._input.copy_(pixels)
        self._graph.replay()
        return self._output.clone()  # the next replay overwrites it


def _probe(trunk: nn.Module, shape: tuple[int, ...]) -> Tensor:
    weight = next(trunk.parameters())
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator).to(weight)
