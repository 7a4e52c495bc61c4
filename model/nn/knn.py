"""Exact k-NN search over prototypes, by cosine or Euclidean distance, in torch or FAISS.

All return the same neighbours, ties apart; `auto` takes the one that is faster for the number of
prototypes: measured on a CPU, estimated on a GPU.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from model.errors import SettingInvalid

EPSILON = 1e-12  # keeps a zero vector from dividing by zero

SearchName = Literal["torch", "faiss", "faiss-gpu", "auto"]
Distance = Literal["cosine", "l2"]

FEW_PROTOTYPES = 256
"""Up to this number FAISS was measured to be faster on a CPU (100 rows: 0.02 against 0.03 ms for 4
queries); with 400 rows and more torch is, six times so with 4 000 rows and 64 queries."""


MANY_PROTOTYPES = 100_000
"""From this number on FAISS is taken on a GPU, if it is there: a similarity matrix of 64 queries is
26 MB then, which torch writes and reads again. Estimated, not measured."""

MOST_NEIGHBOURS = 2048
"""Largest k of FAISS on a GPU."""

_TEMPORARY_BYTES = 64 << 20
"""GPU memory that an index keeps for its searches; FAISS would take 1.5 GiB."""

_ROWS_AT_ONCE = 1 << 18
"""Rows that are normalised and copied to the index together."""


class NearestPrototypes(Protocol):
    """An index over one task's prototypes."""

    name: str

    def search(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Returns row indices (Q, k) int64 and similarities (Q, k), closest first.

        A similarity is the cosine, or minus the squared Euclidean distance; k is clamped to P.
        """
        ...


class TorchIndex:
    """Exact search as one matrix product and a top-k, in the precision of the prototypes.

    Autocast does not reach it: products in bfloat16 find other neighbours, in training than in
    serving.
    """

    name = "torch"

    def __init__(self, prototypes: Tensor, distance: Distance = "cosine") -> None:
        """Indexes prototypes, (P, D)."""
        self._distance = distance
        self._rows = _prepared(prototypes, distance)

    @torch.no_grad()
    def search(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Returns row indices (Q, k) and similarities (Q, k)."""
        with torch.autocast(self._rows.device.type, enabled=False):
            queries = _prepared(queries.to(self._rows.dtype), self._distance)
            similarity = queries @ self._rows.T  # (Q, P)
            if self._distance == "l2":
                lengths = self._rows.square().sum(dim=1) + queries.square().sum(dim=1, keepdim=True)
                similarity = 2 * similarity - lengths
            best = similarity.topk(min(k, len(self._rows)), dim=1)
        return best.indices, best.values


class FaissIndex:
    """Exact search in FAISS: inner product over normalised rows, or Euclidean distance."""

    name = "faiss"

    def __init__(self, prototypes: Tensor, distance: Distance = "cosine") -> None:
        """Indexes prototypes, (P, D)."""
        import faiss

        self._distance = distance
        rows = _prepared(prototypes.float(), distance).cpu().numpy()
        flat = faiss.IndexFlatIP if distance == "cosine" else faiss.IndexFlatL2
        self._index = flat(rows.shape[1])
        self._index.add(rows)

    def search(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Returns row indices (Q, k) and similarities (Q, k)."""
        prepared = _prepared(queries.float(), self._distance).cpu().numpy()
        found, rows = self._index.search(prepared, min(k, self._index.ntotal))
        device = queries.device
        similarity = torch.from_numpy(found if self._distance == "cosine" else -found)
        return torch.from_numpy(rows).to(device), similarity.to(device)


class FaissGpuIndex:
    """Exact search in FAISS on the prototypes' GPU, on torch's stream, without a wait.

    Needs the extra `gpu`. An index may be used by one thread at a time. Rows are kept in float32
    where they take at most half of the free memory, else in float16.
    """

    name = "faiss-gpu"

    def __init__(self, prototypes: Tensor, distance: Distance = "cosine") -> None:
        """Indexes prototypes, (P, D), on a CUDA device.

        Raises:
            SettingInvalid: they are elsewhere, FAISS is there without its GPU part, or they do not
                fit the device's free memory even in float16.
            torch.OutOfMemoryError: the device's memory was taken meanwhile.
        """
        faiss = _faiss_gpu()
        if faiss is None or not prototypes.is_cuda:
            raise SettingInvalid(
                f"search faiss-gpu: expected prototypes on a CUDA device, which are on "
                f"{prototypes.device}, and faiss-gpu, which is "
                f"{'missing: install the extra gpu' if faiss is None else 'there'}"
            )
        self._distance = distance
        self._resources = faiss.StandardGpuResources()
        self._resources.setPinnedMemory(0)
        self._resources.setTempMemory(_TEMPORARY_BYTES)
        config = faiss.GpuIndexFlatConfig()
        config.device = prototypes.device.index or 0
        config.useFloat16 = _stored_in_half(prototypes)
        flat = faiss.GpuIndexFlatIP if distance == "cosine" else faiss.GpuIndexFlatL2
        with _device_memory():
            self._index = flat(self._resources, prototypes.shape[1], config)
            for rows in prototypes.split(_ROWS_AT_ONCE):
                self._index.add(_prepared(rows.float(), distance))

    @torch.no_grad()
    def search(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Returns row indices (Q, k) and similarities (Q, k).

        Raises:
            ValueError: k is above `MOST_NEIGHBOURS`.
            torch.OutOfMemoryError: the device has too little memory.
        """
        k = min(k, self._index.ntotal)
        if k > MOST_NEIGHBOURS:
            raise ValueError(f"search faiss-gpu: expected k of at most {MOST_NEIGHBOURS}, got {k}")
        with torch.autocast(queries.device.type, enabled=False), _device_memory():
            similarity, rows = self._index.search(_prepared(queries.float(), self._distance), k)
        return rows, similarity if self._distance == "cosine" else -similarity


def build_index(
    prototypes: Tensor, search: SearchName = "auto", distance: Distance = "cosine"
) -> NearestPrototypes:
    """Indexes prototypes, (P, D); "auto" takes the faster search for their number.

    The choice depends on P and the device alone: timing at load time would choose at random between
    searches that differ in the last bit, and two runs of a seed would differ.
    """
    if search == "auto":
        search = _choose(len(prototypes), is_on_gpu=prototypes.is_cuda)
    match search:
        case "faiss-gpu":
            return FaissGpuIndex(prototypes, distance)
        case "faiss":
            return FaissIndex(prototypes, distance)
        case _:
            return TorchIndex(prototypes, distance)


def _choose(count: int, *, is_on_gpu: bool) -> SearchName:
    if is_on_gpu:
        return "faiss-gpu" if count >= MANY_PROTOTYPES and _faiss_gpu() is not None else "torch"
    return "faiss" if count <= FEW_PROTOTYPES else "torch"


def _faiss_gpu() -> Any:
    """FAISS, whose indexes then take tensors; None where it was built without its GPU part."""
    import faiss

    if not hasattr(faiss, "GpuIndexFlatIP"):
        return None
    import_module("faiss.contrib.torch_utils")  # its indexes take torch's tensors, on its stream
    return faiss


def _stored_in_half(prototypes: Tensor) -> bool:
    """Whether rows are stored in float16, as half of the free memory is too little for float32.

    Raises:
        SettingInvalid: they do not fit in float16 either.
    """
    free, _ = torch.cuda.mem_get_info(prototypes.device)
    whole = 4 * prototypes.numel()
    if whole <= free // 2:
        return False
    if whole // 2 + _TEMPORARY_BYTES > free:
        raise SettingInvalid(
            f"search faiss-gpu: {len(prototypes)} prototypes of {prototypes.shape[1]} numbers take "
            f"{whole // 2 >> 20} MiB in float16, and {free >> 20} MiB are free on "
            f"{prototypes.device}; take search torch, or a larger device"
        )
    return True


@contextmanager
def _device_memory() -> Iterator[None]:
    """Names FAISS's want of device memory as torch does, so that callers treat both alike."""
    try:
        yield
    except RuntimeError as error:
        if any(words in str(error) for words in ("alloc fail", "out of memory")):
            raise torch.OutOfMemoryError(f"search faiss-gpu: {error}") from error
        raise


def _prepared(vectors: Tensor, distance: Distance) -> Tensor:
    vectors = vectors.detach()
    return (
        F.normalize(vectors, dim=1, eps=EPSILON) if distance == "cosine" else vectors.contiguous()
    )
