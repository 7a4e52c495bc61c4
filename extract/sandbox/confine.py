"""Confinement of a decoding process by the Linux kernel, set once before it reads a clip.

Resource limits (rlimits: address space, file size, descriptors), a user of its own if root starts
it, an empty network namespace, no capabilities, no_new_privs, Landlock and a seccomp filter. A
measure that the system lacks is reported, not required. CPU time is limited from outside.
"""

import ctypes
import os
import resource
from contextlib import suppress
from glob import glob
from pathlib import Path

from extract.decode.clip import Limits
from extract.sandbox import landlock, seccomp
from extract.sandbox.own_user import become_nobody, can_become_nobody, drop_capabilities

_MB = 1024 * 1024
_PR_SET_NO_NEW_PRIVS = 38
_NVIDIA_NODES = "/dev/nvidia*"
"""What the driver opens for writing: control, memory, each GPU, and a folder of rights."""

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


def confine(limits: Limits) -> dict[str, int]:
    """Confines this process for the rest of its life.

    Returns:
        Which measures are in force: 1 or 0, and of Landlock the version.
    """
    _cap(resource.RLIMIT_AS, limits.memory_mb * _MB)
    _cap(resource.RLIMIT_FSIZE, limits.max_output_mb * _MB)
    _cap(resource.RLIMIT_CORE, 0)
    _cap(resource.RLIMIT_NOFILE, 64)
    opens_devices = limits.opens_devices
    devices = sorted(glob(_NVIDIA_NODES)) if opens_devices else []
    library = ctypes.CDLL(None, use_errno=True)
    if can_become_nobody():
        # No user namespace: in one of its own, it could not read what root has to read for it.
        own_network = library.unshare(_CLONE_NEWNET) == 0
        own_user = become_nobody()
    else:
        own_network = library.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0
        own_user = False
    # A namespace of its own gives capabilities that are worth something in it alone.
    drop_capabilities(keeps_reading=own_user or not own_network)
    unused = [ctypes.c_ulong(0)] * 3
    no_new_privileges = library.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), *unused) == 0
    return {
        "own_user": int(own_user),
        "own_network": int(own_network),
        "no_new_privileges": int(no_new_privileges),
        "landlock": landlock.restrict(devices) if no_new_privileges else 0,
        "seccomp": int(no_new_privileges and seccomp.install(opens_for_writing=opens_devices)),
    }


def lower_priority(levels: int) -> None:
    """Lowers the CPU priority of this process below the server's, and of its autogroup on Linux."""
    os.nice(levels)
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(levels))


def _cap(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value))
