"""A user of its own (nobody) for a decoding process of a server that root started.

It keeps one capability, to read any file, since clips lie where only the server's user may look.
It may signal and change nothing of root's.
"""

import ctypes
import os
import struct
from contextlib import suppress
from pathlib import Path

_NOBODY = 65534
_PR_SET_KEEPCAPS = 8
_CAPABILITIES_V3 = 0x20080522
_DAC_OVERRIDE, _DAC_READ_SEARCH, _KILL, _SETGID, _SETUID = 1, 2, 5, 6, 7


def can_become_nobody() -> bool:
    """Returns whether this is root with the capabilities that a change of user takes.

    To change, to read what it is to decode, and for the server to end the process (CAP_KILL).
    """
    permitted = _permitted()
    needed = all(permitted >> one & 1 for one in (_KILL, _SETGID, _SETUID))
    return os.geteuid() == 0 and needed and _reading(permitted) != 0


def become_nobody() -> bool:
    """Changes user and group for the rest of this process's life; returns whether it did."""
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(_PR_SET_KEEPCAPS, ctypes.c_ulong(1))
    with suppress(OSError):  # a user namespace that does not map it
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    return os.getresuid() == (_NOBODY,) * 3


def drop_capabilities(*, keeps_reading: bool) -> bool:
    """Drops the capabilities of this process, perhaps but one, to read; returns whether it did."""
    library = ctypes.CDLL(None, use_errno=True)
    kept = _reading(_permitted()) if keeps_reading else 0
    header = struct.pack("Ii", _CAPABILITIES_V3, 0)
    return bool(library.capset(header, struct.pack("6I", kept, kept, 0, 0, 0, 0)) == 0)


def _reading(capabilities: int) -> int:
    """The weakest of these capabilities with which any file can be read, as a bit; 0 if none."""
    bits = (capabilities & 1 << one for one in (_DAC_READ_SEARCH, _DAC_OVERRIDE))
    return next(filter(None, bits), 0)


def _permitted() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapPrm:"):
            return int(line.split()[1], 16)
    return 0
