"""What a decoding process may not do: limits of the kernel, set once, before it sees a clip.

Linux; each measure that a system lacks is reported as missing rather than required.
"""

import ctypes
import os
import resource
import struct

from extract.clip import Limits

_MB = 1024 * 1024
_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2

# Per machine: audit architecture, then socket, connect, execve, execveat, ptrace, io_uring_setup.
_CALLS = {
    "x86_64": (0xC000003E, (41, 42, 59, 322, 101, 425)),
    "aarch64": (0xC00000B7, (198, 203, 221, 281, 117, 425)),
}
_X32_BIT = 0x40000000
_LOAD, _JUMP_EQUAL, _JUMP_GREATER, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001  # the latter: the call fails with EPERM


def confine(limits: Limits) -> dict[str, bool]:
    """Limits this process for the rest of its life; returns which measures are in force.

    Args:
        limits: address space and size of what it may write.
    """
    _cap(resource.RLIMIT_AS, limits.memory_mb * _MB)
    _cap(resource.RLIMIT_FSIZE, limits.max_output_mb * _MB)
    _cap(resource.RLIMIT_CORE, 0)
    _cap(resource.RLIMIT_NOFILE, 64)
    library = ctypes.CDLL(None, use_errno=True)
    no_new_privileges = _prctl(library, _PR_SET_NO_NEW_PRIVS, 1)
    return {
        "no_new_privileges": no_new_privileges,
        "no_network": no_new_privileges and _refuse_calls(library),
    }


def allow_cpu(seconds: int) -> None:
    """Lets this process use this much CPU time more; the kernel kills it after that.

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


def _refuse_calls(library: ctypes.CDLL) -> bool:
    """Refuses new sockets, other programs and tracing; decoding needs none of them."""
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
