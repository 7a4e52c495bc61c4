"""Resource sampling of a server's process tree: memory, file descriptors and threads."""

import asyncio
import os
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_PARENT, _USER, _SYSTEM, _THREADS = 1, 11, 12, 17
"""Places in /proc/PID/stat after the name."""


@dataclass(frozen=True)
class Sample:
    """A tree of processes at one instant.

    Attributes:
        at_s: since the watch began.
        rss_mb: resident memory of the whole tree.
        server_rss_mb: of its root alone.
        fds: descriptors the root holds.
        threads: of the root.
        processes: in the tree.
    """

    at_s: float
    rss_mb: float
    server_rss_mb: float
    fds: int
    threads: int
    processes: int


@asynccontextmanager
async def watched(pid: int | None) -> AsyncIterator[list[Sample]]:
    """Yields the samples of a process tree, one more every second, in order.

    None watches nothing, as a server elsewhere allows no look.
    """
    samples: list[Sample] = []

    async def watch(pid: int) -> None:
        begun_s = time.monotonic()
        while True:
            with suppress(OSError):  # it has ended: the callers will say so
                samples.append(look(pid, at_s=time.monotonic() - begun_s))
            await asyncio.sleep(1.0)

    task = None if pid is None else asyncio.create_task(watch(pid))
    try:
        yield samples
    finally:
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def look(pid: int, *, at_s: float = 0.0) -> Sample:
    """Returns the resources of a process and its descendants.

    Raises:
        OSError: there is no such process.
    """
    tree = process_tree(pid)
    return Sample(
        at_s=at_s,
        rss_mb=round(sum(_rss_mb(one) for one in tree), 1),
        server_rss_mb=round(_rss_mb(pid), 1),
        fds=len(os.listdir(f"/proc/{pid}/fd")),
        threads=int(_stat(pid)[_THREADS]),
        processes=len(tree),
    )


def process_tree(pid: int) -> list[int]:
    """Returns the ids of a process and all its living descendants, the root first."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):  # it ended meanwhile
                children.setdefault(int(_stat(int(folder.name))[_PARENT]), []).append(
                    int(folder.name)
                )
    tree = [pid]
    for one in tree:
        tree += children.get(one, [])
    return tree


def cpu_s(pid: int) -> float:
    """Returns the seconds that a process has spent on cores, its children not included.

    Raises:
        OSError: there is no such process.
    """
    fields = _stat(pid)
    return (int(fields[_USER]) + int(fields[_SYSTEM])) * _TICK_S


def trend(samples: Sequence[Sample], *, warm_up: float = 0.25) -> dict[str, Any] | None:
    """Returns the change of each quantity to the end, from a share of samples that do not count."""
    kept = samples[int(warm_up * len(samples)) :]
    if len(kept) < 4:
        return None
    part = max(2, len(kept) // 4)
    quantities: dict[str, Callable[[Sample], float]] = {
        "rss_mb": lambda one: one.rss_mb,
        "server_rss_mb": lambda one: one.server_rss_mb,
        "fds": lambda one: one.fds,
        "threads": lambda one: one.threads,
        "processes": lambda one: one.processes,
    }
    return {name: _moved(kept, part, of) for name, of in quantities.items()}


def _moved(kept: Sequence[Sample], part: int, of: Callable[[Sample], float]) -> dict[str, float]:
    first = statistics.median(of(one) for one in kept[:part])
    last = statistics.median(of(one) for one in kept[-part:])
    most = max(of(one) for one in kept)
    drift = round(100 * (last - first) / first, 2) if first else 0.0
    return {"first": first, "last": last, "most": most, "drift_percent": drift}


def _rss_mb(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_MB
    except OSError:
        return 0.0


def _stat(pid: int) -> list[str]:
    """Fields after the name, which may itself hold spaces and brackets."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
