"""How many cores there are, and who gets them: decoding processes or the encoder."""

import os
from pathlib import Path

import torch

_MAX_WORKERS = 16
_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


def usable_cores() -> int:
    """Returns how many cores this process may keep busy; a container may grant fewer than it shows.

    Returns at least one.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        quota, period = _CPU_MAX.read_text().split()
        return max(1, min(cores or 1, int(quota) // int(period)))
    except (OSError, ValueError):  # no such limit
        return cores or 1


def divide_cores(num_videos: int, workers: int | None) -> tuple[int, int]:
    """Returns decoding processes, and threads for the encoder: what they leave, at least one.

    Args:
        num_videos: there is no use for more processes.
        workers: as asked for; a core fewer than there are when None, at most 16.
    """
    cores = usable_cores()
    if workers is None:
        workers = min(_MAX_WORKERS, cores - 1)
    workers = max(1, min(workers, num_videos))
    return workers, max(1, min(torch.get_num_threads(), cores - workers))
