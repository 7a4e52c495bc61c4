"""Access control of a decoding process by Landlock: everything that the kernel's version can deny.

Nothing is opened for writing, made, removed, moved or truncated, no device is controlled, and
neither TCP ports, abstract sockets nor signals reach beyond the process. Reading stays allowed, and
so do the device nodes that a GPU's decoder is reached through, where they are named.
"""

import ctypes
import os
import struct
from collections.abc import Sequence

_CREATE, _ADD_RULE, _RESTRICT = 444, 445, 446  # the same numbers on every machine
_BENEATH = 1  # kind of rule: a path and what is below it
_ASK_VERSION = 1

# Version 1: writing to files, removing and making them; 2: moving between folders; 3: truncating;
# 5: control of devices. Executing and reading (bits 0, 2 and 3) are not denied.
_FILES = {
    1: 1 << 1 | sum(1 << bit for bit in range(4, 13)),
    2: 1 << 13,
    3: 1 << 14,
    5: 1 << 15,
}
_DEVICE = 1 << 1 | 1 << 15  # writing to a node, controlling it
_TCP = 1 << 0 | 1 << 1  # from version 4: bind, connect
_SCOPES = 1 << 0 | 1 << 1  # from version 6: abstract sockets, signals


def version() -> int:
    """Returns the version of the kernel's interface (ABI); 0 without Landlock."""
    found = _libc().syscall(_CREATE, None, ctypes.c_size_t(0), _ASK_VERSION)
    return max(0, int(found))


def rules_for(version: int) -> bytes:
    """Returns struct landlock_ruleset_attr with all that a version can deny."""
    files = sum(bits for since, bits in _FILES.items() if since <= version)
    parts = [files, _TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0]
    size = 1 + (version >= 4) + (version >= 6)  # older kernels refuse fields they do not know
    return struct.pack(f"{size}Q", *parts[:size])


def restrict(devices: Sequence[str] = ()) -> int:
    """Restricts this thread and what it starts; returns the version in force, 0 for none.

    Needs no_new_privs. Open descriptors stay as they are.

    Args:
        devices: nodes, or folders of them, that may be opened for writing and controlled.
    """
    found = version()
    if found == 0:
        return 0
    library, rules = _libc(), rules_for(found)
    descriptor = library.syscall(_CREATE, rules, ctypes.c_size_t(len(rules)), 0)
    if descriptor < 0:
        return 0
    is_ruled = all(_admit(descriptor, path, found) for path in devices)
    is_restricted = is_ruled and library.syscall(_RESTRICT, descriptor, 0) == 0
    os.close(descriptor)
    return found if is_restricted else 0


def _admit(rules: int, path: str, version: int) -> bool:
    """Adds a rule for a device node, or for a folder of them."""
    known = sum(bits for since, bits in _FILES.items() if since <= version)
    node = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = struct.pack("=Qi", _DEVICE & known, node)
        return bool(_libc().syscall(_ADD_RULE, rules, _BENEATH, rule, 0) == 0)
    finally:
        os.close(node)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
