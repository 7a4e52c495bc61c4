"""CPU time of a decoding process: it, and no wall clock, tells whether the file is at fault.

A wall clock also runs while other programs have the cores, or while the process is stopped.
"""

import os
import resource
import time
from contextlib import suppress
from math import ceil, inf
from pathlib import Path

_USER, _SYSTEM = 11, 12  # fields of /proc/PID/stat, counted after the program's name
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_A_CORE_OF_ITS_OWN = 0.9


class CpuTime:
    """CPU time of another process since a mark, in seconds.

    Args:
        pid: the process; its user is this one's, or this one is root.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._since_s, self._before_s = -inf, 0.0
        self.mark()

    def mark(self, *, every_s: float = 0.0) -> None:
        """Counts from now on, or from a mark less than `every_s` old: reading /proc costs time."""
        now_s = time.monotonic()
        if now_s - self._since_s >= every_s:
            self._since_s, self._before_s = now_s, self._total_s()

    def allow(self, cpu_s: float) -> None:
        """Moves the kernel's limit (RLIMIT_CPU) to so many seconds from the mark, SIGXCPU its end.

        Set from outside, since a process confined by seccomp may not move it. Root without
        CAP_SYS_RESOURCE may not, for another user: there only a check of `used_s` holds the limit.

        Raises:
            OSError: there is no such process.
        """
        with suppress(PermissionError):
            _, hard = resource.prlimit(self._pid, resource.RLIMIT_CPU)
            limits = (ceil(self._before_s + cpu_s), hard)
            resource.prlimit(self._pid, resource.RLIMIT_CPU, limits)

    def used_s(self) -> float:
        """Returns what it has used since the mark."""
        return self._total_s() - self._before_s

    def is_used_up(self, cpu_s: float) -> bool:
        """Returns whether it had what it may have, or a core to itself the whole time.

        Args:
            cpu_s: what it may have from the mark on.
        """
        return self.used_s() >= min(cpu_s, _A_CORE_OF_ITS_OWN * (time.monotonic() - self._since_s))

    def _total_s(self) -> float:
        try:
            stat = Path(f"/proc/{self._pid}/stat").read_text()
        except OSError:  # it has ended
            return 0.0
        fields = stat.rpartition(")")[2].split()
        return (int(fields[_USER]) + int(fields[_SYSTEM])) / _TICKS_PER_S
