"""What a confined process attempts, and what becomes of it."""

import json
import os
import subprocess
import sys

# Run by a process that is confined: attempts, each with the name of its error, or "done".
ATTEMPTS = """
import ctypes, fcntl, json, os, resource, signal, socket, sys, threading, time
from extract.decode.clip import Limits
from extract.sandbox import landlock, seccomp
from extract.sandbox.confine import confine

home = os.readlink("/proc/self/ns/net")
file, new, server, wanted = sys.argv[1], sys.argv[1] + ".new", int(sys.argv[3]), sys.argv[4:]
held = os.open(file, os.O_RDONLY)
libc = ctypes.CDLL(None, use_errno=True)
if sys.argv[2] == "all":
    measures = confine(Limits())
else:
    libc.prctl(38, *map(ctypes.c_ulong, (1, 0, 0, 0)))
    layers = {
        "landlock": landlock.restrict,
        "landlock, a device": lambda: landlock.restrict(["/dev/null"]),
        "seccomp": seccomp.install,
    }
    measures = {sys.argv[2]: layers[sys.argv[2]]()}

def call(number, *arguments):
    if libc.syscall(number, *map(ctypes.c_long, arguments)) < 0:
        raise OSError(ctypes.get_errno(), "")

def thread():
    done = []
    one = threading.Thread(target=done.append, args=(1,))
    one.start()
    one.join()
    assert done

def read_back():
    with open(file) as lines:
        assert lines.read() == "kept"

attempts = {
    "write": lambda: open(file, "w"),
    "append": lambda: open(file, "a"),
    "update": lambda: open(file, "r+"),
    "truncate": lambda: os.truncate(file, 0),
    "truncate by opening": lambda: os.open(file, os.O_RDONLY | os.O_TRUNC),
    "make": lambda: open(new, "x"),
    "make a folder": lambda: os.mkdir(new),
    "remove": lambda: os.unlink(file),
    "rename": lambda: os.rename(file, new),
    "link": lambda: os.link(file, new),
    "symlink": lambda: os.symlink(file, new),
    "fifo": lambda: os.mkfifo(new),
    "chmod": lambda: os.chmod(file, 0o777),
    "fchmod": lambda: os.fchmod(held, 0o777),
    "chown": lambda: os.chown(file, os.getuid(), os.getgid()),
    "utime": lambda: os.utime(file),
    "utime by descriptor": lambda: os.utime(held),
    "set attribute": lambda: os.setxattr(held, "user.a", b"b"),
    "lock": lambda: fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB),
    "lock a range": lambda: fcntl.lockf(held, fcntl.LOCK_SH | fcntl.LOCK_NB),
    "own a descriptor": lambda: fcntl.fcntl(held, fcntl.F_SETOWN, server),
    "signal the server": lambda: os.kill(server, 0),
    "signal by descriptor": lambda: os.pidfd_open(server),
    "signal its group": lambda: os.kill(0, 0),
    "signal all": lambda: os.kill(-1, 0),
    "fork": os.fork,
    "vfork": lambda: call({"x86_64": 58, "aarch64": 220}[os.uname().machine], signal.SIGCHLD),
    "execute": lambda: os.execv(sys.executable, [sys.executable, "-c", ""]),
    "lift its limit": lambda: resource.prlimit(0, resource.RLIMIT_CPU, (10**6, -1)),
    "limit the server": lambda: resource.prlimit(server, resource.RLIMIT_NOFILE, (1, 1)),
    "slow the server": lambda: os.setpriority(os.PRIO_PROCESS, server, 19),
    "schedule the server": lambda: os.sched_setaffinity(server, {0}),
    "socket": socket.socket,
    "unix socket": lambda: socket.socket(socket.AF_UNIX),
    "namespace": lambda: call({"x86_64": 272, "aarch64": 97}[os.uname().machine], 0x10000000),
    "read": read_back,
    "thread": thread,
    "signal itself": lambda: os.kill(os.getpid(), 0),
    "read its limit": lambda: resource.getrlimit(resource.RLIMIT_CPU),
    "write to a device": lambda: os.open("/dev/null", os.O_RDWR),
    "write to another": lambda: os.open("/dev/zero", os.O_RDWR),
    "duplicate": lambda: os.close(os.dup(held)),
}
found = {}
for name in wanted or attempts:
    try:
        attempts[name]()
        found[name] = "done"
    except BaseException as error:
        found[name] = type(error).__name__
with open("/proc/self/status") as lines:
    status = {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
print(json.dumps({
    "measures": measures, "found": found, "moved": os.readlink("/proc/self/ns/net") != home,
    "status": {key: status[key] for key in ("CapEff", "CapPrm", "NoNewPrivs", "Uid")},
}))
"""
READING = {"read", "thread", "signal itself", "read its limit", "duplicate"}
"""Attempts that must succeed: decoding needs them."""


def attempt(folder, measures, names=()):
    """Has a process try everything once it is confined.

    Args:
        folder: empty; a file is made in it.
        measures: "all", or one layer alone: "landlock", "landlock, a device" (where one may be
            written to) or "seccomp".
        names: of the attempts; default: all.
    """
    file = folder / "file"
    file.write_text("kept")
    with subprocess.Popen(["sleep", "1000"]) as server:  # what it is to leave alone
        try:
            ended = subprocess.run(
                [sys.executable, "-c", ATTEMPTS, str(file), measures, str(server.pid), *names],
                env={
                    **os.environ,
                    "OPENBLAS_NUM_THREADS": "1",
                    "PYTHONPATH": os.pathsep.join(sys.path),
                },
                capture_output=True,
                text=True,
            )
        finally:
            server.kill()
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def succeeded(outcome):
    """Names of the attempts that were not refused; a refusal is EPERM or EACCES, nothing else."""
    found = outcome["found"]
    assert set(found.values()) <= {"done", "PermissionError"}, found
    return {name for name, what in found.items() if what == "done"}
