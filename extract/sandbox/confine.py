"""Confinement of a decoding process by the Linux kernel, set once before it reads a clip.

Resource limits (rlimits: address space, file size, descriptors, CPU time), an empty network
namespace, no_new_privs, Landlock against writing, and a seccomp filter against sockets, exec,
ptrace, io_uring and unshare. A measure that the system lacks is reported, not required.
"""

import ctypes
import os
import resource
import struct
from contextlib import suppress
from pathlib import Path

from extract.decode.clip import Limits

_MB = 1024 * 1024
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2

# Per machine: audit architecture, then socket, connect, execve, execveat, ptrace, io_uring_setup,
# unshare.
_CALLS = {
    "x86_64": (0xC000003E, (41, 42, 59, 322, 101, 425, 272)),
    "aarch64": (0xC00000B7, (198, 203, 221, 281, 117, 425, 97)),
}
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_CAPABILITIES_V3 = 0x20080522
_LANDLOCK_CREATE, _LANDLOCK_RESTRICT = 444, 446  # the same numbers on every machine
# Landlock's first version: writing, removing and making files of any kind.
_LANDLOCK_WRITES = 1 << 1 | sum(1 << bit for bit in range(4, 13))
_X32_BIT = 0x40000000
_LOAD, _JUMP_EQUAL, _JUMP_GREATER, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001  # the latter: the call fails with EPERM


def confine(limits: Limits) -> dict[str, bool]:
    """Confines this process for the rest of its life; returns which measures are in force."""
    _cap(resource.RLIMIT_AS, limits.memory_mb * _MB)
    _cap(resource.RLIMIT_FSIZE, limits.max_output_mb * _MB)
    _cap(resource.RLIMIT_CORE, 0)
    _cap(resource.RLIMIT_NOFILE, 64)
    library = ctypes.CDLL(None, use_errno=True)
    own_network = _enter_empty_network(library)
    no_new_privileges = _prctl(library, _PR_SET_NO_NEW_PRIVS, 1)
    return {
        "own_network": own_network,
        "no_new_privileges": no_new_privileges,
        "no_writing": no_new_privileges and _refuse_writing(library),
        "no_network": no_new_privileges and _refuse_calls(library),
    }


def lower_priority(levels: int) -> None:
    """Lowers the CPU priority of this process below the server's, and of its autogroup on Linux."""
    os.nice(levels)
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(levels))


def allow_cpu(seconds: int) -> None:
    """Extends the CPU time limit (RLIMIT_CPU); the kernel kills the process at its end.

    The limit counts over the life of a process, so it is moved before every clip.
    """
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = int(usage.ru_utime + usage.ru_stime) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (used + seconds, hard))


def _cap(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value))


def _enter_empty_network(library: ctypes.CDLL) -> bool:
    """Enters a user and network namespace without interfaces, and drops all capabilities in it."""
    if library.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) != 0:
        return False
    header = struct.pack("Ii", _CAPABILITIES_V3, 0)
    return bool(library.capset(header, bytes(24)) == 0)


def _refuse_writing(library: ctypes.CDLL) -> bool:
    """Forbids opening files for writing, with Landlock; descriptors already open stay writable."""
    rules = struct.pack("Q", _LANDLOCK_WRITES)
    descriptor = library.syscall(_LANDLOCK_CREATE, rules, ctypes.c_size_t(len(rules)), 0)
    if descriptor < 0:
        return False
    is_restricted = bool(library.syscall(_LANDLOCK_RESTRICT, descriptor, 0) == 0)
    os.close(descriptor)
    return is_restricted


def _refuse_calls(library: ctypes.CDLL) -> bool:
    """Forbids sockets, exec and tracing with a seccomp filter; decoding needs none of them."""
    machine = os.uname().machine
    if machine not in _CALLS:
        return False
    architecture, calls = _CALLS[machine]
    # Offsets into struct seccomp_data: the call's number at 0, the architecture at 4.
    program = [
        (_LOAD, 0, 0, 4),
        (_JUMP_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _REFUSE),
        (_LOAD, 0, 0, 0),
        (_JUMP_GREATER, len(calls) + 1, 0, _X32_BIT),
    ]
    for index, call in enumerate(calls):
        program.append((_JUMP_EQUAL, len(calls) - index, 0, call))
    program += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]
    code = b"".join(struct.pack("HBBI", *line) for line in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(buffer))
    return _prctl(library, _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header)


def _prctl(library: ctypes.CDLL, option: int, *arguments: int | bytes) -> bool:
    values = [ctypes.c_ulong(a) if isinstance(a, int) else ctypes.c_char_p(a) for a in arguments]
    values += [ctypes.c_ulong(0)] * (4 - len(values))
    return bool(library.prctl(option, *values) == 0)
