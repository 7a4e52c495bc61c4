"""k nearest prototypes by cosine similarity: exact torch and FAISS, one signature.

The only home of faiss. Both return the same neighbours; `auto` takes whichever is faster for
this many prototypes on this machine.
"""

import time
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

EPSILON = 1e-12  # keeps a zero vector from dividing by zero

SearchName = Literal["torch", "faiss", "auto"]


class NearestPrototypes(Protocol):
    """An index over one task's prototypes."""

    name: str

    def search(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Returns row indices (Q, k) int64 and cosine similarities (Q, k), closest first."""
        ...


class TorchIndex:
    """Cosine search as one matrix product and a top-k, in the precision of the prototypes."""

    name = "torch"

    def __init__(self, prototypes: Tensor) -> None:
        """Indexes prototypes, (P, D)."""
        self._rows = F.normalize(prototypes.detach(), dim=1, eps=EPSILON)

    @torch.no_grad()
    def search(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Returns row indices (Q, k) and similarities (Q, k); k is clamped to P."""
        unit = F.normalize(queries.to(self._rows.dtype), dim=1, eps=EPSILON)
        similarity = unit @ self._rows.T  # (Q, P)
        best = similarity.topk(min(k, len(self._rows)), dim=1)
        return best.indices, best.values


class FaissIndex:
    """Cosine search as an inner product over normalised rows in FAISS."""

    name = "faiss"

    def __init__(self, prototypes: Tensor) -> None:
        """Indexes prototypes, (P, D)."""
        import faiss

        rows = F.normalize(prototypes.detach().float(), dim=1, eps=EPSILON).cpu().numpy()
        self._index = faiss.IndexFlatIP(rows.shape[1])
        self._index.add(rows)

    def search(self, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Returns row indices (Q, k) and similarities (Q, k); k is clamped to P."""
        unit = F.normalize(queries.detach().float(), dim=1, eps=EPSILON).cpu().numpy()
        similarity, rows = self._index.search(unit, min(k, self._index.ntotal))
        device = queries.device
        return torch.from_numpy(rows).to(device), torch.from_numpy(similarity).to(device)


def build_index(prototypes: Tensor, search: SearchName = "auto") -> NearestPrototypes:
    """Indexes prototypes, (P, D), with the search named, or with the faster of the two."""
    if search == "torch":
        return TorchIndex(prototypes)
    if search == "faiss":
        return FaissIndex(prototypes)
    candidates: list[NearestPrototypes] = [TorchIndex(prototypes), FaissIndex(prototypes)]
    queries = prototypes.detach()[:64]
    return min(candidates, key=lambda index: _seconds(index, queries))


def _seconds(index: NearestPrototypes, queries: Tensor) -> float:
    best = float("inf")
    for _ in range(4):
        start = time.perf_counter()
        index.search(queries, 4)
        best = min(best, time.perf_counter() - start)
    return best
