"""CPU allocation: usable cores, thread counts and niceness. Imports torch only where it is used."""

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

_MAX_WORKERS = 16
_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
_MAX_NICENESS = 19


def usable_cores() -> int:
    """Returns how many cores this process may use, by affinity and cgroup quota; at least one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        quota, period = _CPU_MAX.read_text().split()
        return max(1, min(cores or 1, int(quota) // int(period)))
    except (OSError, ValueError):  # no quota is set
        return cores or 1


def divide_cores(num_videos: int, workers: int | None) -> tuple[int, int]:
    """Returns how many decoding processes, and threads for the encoder on the remaining cores.

    Args:
        num_videos: upper bound of the processes.
        workers: requested number of processes; by default one less than the cores, at most 16.
    """
    import torch

    cores = usable_cores()
    if workers is None:
        workers = min(_MAX_WORKERS, cores - 1)
    workers = max(1, min(workers, num_videos))
    return workers, max(1, min(torch.get_num_threads(), cores - workers))


@contextmanager
def one_thread_per_core() -> Iterator[Executor]:
    """Yields a pool of as many threads as torch may use cores, each with one thread per operation.

    A small network spends its time in many short operations, which threads inside an operation do
    not speed up (measured: not at all on two cores). Whole shards or videos side by side do.
    """
    import torch

    cores = torch.get_num_threads()
    pool = ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(cores)  # in some builds a thread's setting reaches beyond it


def raise_niceness(task: int, levels: int) -> None:
    """Raises the niceness of a thread or process above the caller's; never lowers it.

    Args:
        task: a process id, or on Linux a thread's native id; 0: the caller.
        levels: added to the caller's niceness.
    """
    wanted = min(_MAX_NICENESS, os.getpriority(os.PRIO_PROCESS, 0) + levels)
    os.setpriority(os.PRIO_PROCESS, task, max(wanted, os.getpriority(os.PRIO_PROCESS, task)))
