"""Who goes first when cores are short."""

import os

LEAST = 19
"""The niceness of who always goes last."""


def raise_niceness(task: int, levels: int) -> None:
    """Makes a thread or process nicer than the caller is; never less nice, which takes privileges.

    Args:
        task: a process id, or on Linux a thread's native id; 0: the caller.
        levels: how much nicer.
    """
    wanted = min(LEAST, os.getpriority(os.PRIO_PROCESS, 0) + levels)
    os.setpriority(os.PRIO_PROCESS, task, max(wanted, os.getpriority(os.PRIO_PROCESS, task)))
