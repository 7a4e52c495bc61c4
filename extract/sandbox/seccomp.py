"""System-call filter (seccomp) of a decoding process: what decoding never needs fails with EPERM.

Files are opened for reading only, and nothing named by a path is changed; no sockets, programs,
children, namespaces, tracing or io_uring; no signals to others; no limits or priorities are moved.
"""

import ctypes
import os
import struct

_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_X32_BIT = 0x40000000
# Classic BPF: load a word, jump if equal / greater or equal / any bit set, return.
_LOAD, _JUMP_EQUAL, _JUMP_FROM, _JUMP_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _EPERM, _ENOSYS = 0x7FFF0000, 0x00050001, 0x00050026
_NEVER = 0xFFFFFFFF  # a number that no call has: it does not exist on this machine

# struct seccomp_data: number, architecture, instruction pointer, six arguments of 64 bits.
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16

_CLONE_THREAD = 0x10000
_O_CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# name: (number on x86_64, on aarch64)
_REFUSED = {
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200),
    "execve": (59, 221), "execveat": (322, 281), "fork": (57, _NEVER), "vfork": (58, _NEVER),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "process_madvise": (440, 440), "kcmp": (312, 272), "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438), "perf_event_open": (298, 241), "bpf": (321, 280),
    "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "chroot": (161, 51), "move_mount": (429, 429), "fsopen": (430, 430),
    "open_tree": (428, 428), "mount_setattr": (442, 442),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    # signals to others; kill and tgkill are among _LIMITED
    "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
    # limits and priorities, its own and others'
    "setrlimit": (160, 164), "setpriority": (141, 140), "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119), "sched_setattr": (314, 274), "sched_setaffinity": (203, 122),
    "ioprio_set": (251, 30), "migrate_pages": (256, 238), "move_pages": (279, 239),
    # files by name, and what a descriptor open for reading may still change
    "creat": (85, _NEVER), "truncate": (76, 45), "openat2": (437, 437),
    "open_by_handle_at": (304, 265), "mkdir": (83, _NEVER), "mkdirat": (258, 34),
    "rmdir": (84, _NEVER), "unlink": (87, _NEVER), "unlinkat": (263, 35), "rename": (82, _NEVER),
    "renameat": (264, 38), "renameat2": (316, 276), "link": (86, _NEVER), "linkat": (265, 37),
    "symlink": (88, _NEVER), "symlinkat": (266, 36), "mknod": (133, _NEVER), "mknodat": (259, 33),
    "chmod": (90, _NEVER), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, _NEVER), "lchown": (94, _NEVER), "fchown": (93, 55), "fchownat": (260, 54),
    "utime": (132, _NEVER), "utimes": (235, _NEVER), "futimesat": (261, _NEVER),
    "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "setxattrat": (463, 463), "removexattrat": (466, 466), "file_setattr": (469, 469),
    "flock": (73, 32),
    # System V and POSIX message queues, semaphores and shared memory of the same user
    "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "semget": (64, 190),
    "semop": (65, 193), "semtimedop": (220, 192), "semctl": (66, 191), "msgget": (68, 186),
    "msgsnd": (69, 189), "msgrcv": (70, 188), "msgctl": (71, 187), "mq_open": (240, 180),
    "mq_unlink": (241, 181),
}  # fmt: skip

# Their flags lie in memory, where no filter can look: libraries fall back on clone and openat.
_MISSING = {"clone3": (435, 435)}

# Numbers of the calls that are refused by their arguments.
_LIMITED = {
    "clone": (56, 220), "open": (2, _NEVER), "openat": (257, 56), "kill": (62, 129),
    "tgkill": (234, 131), "prlimit64": (302, 261), "fcntl": (72, 25), "ioctl": (16, 29),
}  # fmt: skip
# fcntl: locks on the server's files, leases, notices, and signals to a descriptor's owner.
_FCNTL_REFUSED = (6, 7, 8, 10, 15, 37, 38, 1024, 1026)
# ioctl: input for a terminal, attributes of files.
_IOCTL_REFUSED = (0x5412, 0x541C, 0x40086602, 0x401C5820)

Line = tuple[int, int, int, int]  # code, jump if true, jump if false, constant


def install(*, opens_for_writing: bool = False) -> bool:
    """Puts the filter over this thread and what it starts; returns whether it is in force.

    Needs no_new_privs. The filter cannot be removed.
    """
    program = filter_program(os.uname().machine, os.getpid(), opens_for_writing=opens_for_writing)
    if program is None:
        return False
    code = b"".join(struct.pack("HBBI", *line) for line in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(buffer))
    library = ctypes.CDLL(None, use_errno=True)
    mode, unused = ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.c_ulong(0)
    return bool(library.prctl(_PR_SET_SECCOMP, mode, header, unused, unused) == 0)


def filter_program(machine: str, pid: int, *, opens_for_writing: bool = False) -> list[Line] | None:
    """Returns the filter in classic BPF; None where the calls' numbers are not known.

    Args:
        machine: as `uname` names it.
        pid: the process that may signal itself.
        opens_for_writing: it may open files and devices so, but change none by name.
    """
    if machine not in _ARCHITECTURES:
        return None
    column = list(_ARCHITECTURES).index(machine)
    program = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JUMP_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _EPERM),
        (_LOAD, 0, 0, _NUMBER),
        (_JUMP_FROM, 0, 1, _X32_BIT),
        (_RETURN, 0, 0, _EPERM),
    ]
    itself = _unless_equal(0, pid)
    limited = {
        "clone": [_load(0), (_JUMP_BITS, 1, 0, _CLONE_THREAD), _refuse(), _allow()],
        "open": _if_bits(1, 0 if opens_for_writing else _O_CHANGES),
        "openat": _if_bits(2, 0 if opens_for_writing else _O_CHANGES),
        "kill": itself,
        "tgkill": itself,
        # The limits may be read: no new ones (a null pointer, both its halves).
        "prlimit64": [*_unless_equal(2, 0)[:-1], *_unless_equal(2, 0, offset=4)],
        "fcntl": _if_among(1, _FCNTL_REFUSED),
        "ioctl": _if_among(1, _IOCTL_REFUSED),
    }
    rules = {_LIMITED[name][column]: lines for name, lines in limited.items()}
    rules |= {numbers[column]: [_refuse()] for numbers in _REFUSED.values()}
    rules |= {numbers[column]: [_refuse(_ENOSYS)] for numbers in _MISSING.values()}
    rules.pop(_NEVER, None)
    for number, lines in rules.items():
        program += [(_JUMP_EQUAL, 0, len(lines), number), *lines]
    return [*program, _allow()]


def _load(argument: int, offset: int = 0) -> Line:
    """The low half of an argument; the high half at offset 4."""
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * argument + offset)


def _refuse(how: int = _EPERM) -> Line:
    return (_RETURN, 0, 0, how)


def _allow() -> Line:
    return (_RETURN, 0, 0, _ALLOW)


def _if_bits(argument: int, mask: int) -> list[Line]:
    return [_load(argument), (_JUMP_BITS, 0, 1, mask), _refuse(), _allow()]


def _if_among(argument: int, values: tuple[int, ...]) -> list[Line]:
    tests = [(_JUMP_EQUAL, len(values) - i, 0, value) for i, value in enumerate(values)]
    return [_load(argument), *tests, _allow(), _refuse()]


def _unless_equal(argument: int, value: int, offset: int = 0) -> list[Line]:
    return [_load(argument, offset), (_JUMP_EQUAL, 1, 0, value), _refuse(), _allow()]
