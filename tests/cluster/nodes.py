"""Machines of a cluster, played by network namespaces: each worker has an address of its own.

The head is this machine, with an address on a bridge; a worker is a raylet in a namespace behind it.
"""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

RAY = ("-m", "ray.scripts.scripts")
NETWORK = "10.213.77"
"""First three numbers of every address."""


MARK = "EGOPACK_TESTED"
"""Variable by which everything that a test run started is known, however far down."""


def marked(words: str = "") -> list[int]:
    """Ids of what carries this process's mark, and has such words in its command line."""
    mark = f"{MARK}={os.getpid()}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
            environment = path.with_name("environ").read_bytes()
        except OSError:  # it has ended meanwhile
            continue
        if line and mark in environment.split(b"\0") and words.encode() in line:
            found.append(int(path.parent.name))
    return found


def kill_all() -> None:
    """Ends whatever is left of what a test run started."""
    for pid in marked():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def is_possible() -> bool:
    """Whether this system lets us make namespaces."""
    try:
        subprocess.run(["ip", "netns", "add", "egopack-try"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    subprocess.run(["ip", "netns", "del", "egopack-try"], check=True)
    return True


@dataclass(frozen=True)
class Node:
    """A raylet and everything it started."""

    name: str
    address: str

    def processes(self) -> dict[int, str]:
        """Returns what runs on it: id -> command line."""
        found = {}
        for pid in _out("ip", "netns", "pids", self.name).split():
            try:
                line = Path(f"/proc/{pid}/cmdline").read_bytes()
            except OSError:  # it has ended meanwhile
                continue
            found[int(pid)] = line.replace(b"\0", b" ").decode()
        return found

    def kill(self, like: str = "") -> list[int]:
        """Kills what has such words in its command line; by default everything, as a power cut does."""
        victims = [pid for pid, line in self.processes().items() if like in line]
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        return victims


@contextmanager
def cluster(python: str, folder: Path, *, workers: int, port: int) -> Iterator[list[Node]]:
    """Yields the workers of a cluster whose head is at `head_address(port)`.

    Args:
        python: the interpreter, whose Ray is used.
        folder: for Ray's files; a short path, since sockets are in it.
        workers: namespaces, with one logical processor each; the head has one, too.
        port: of the head.
    """
    with ExitStack() as stack:
        head = f"{NETWORK}.1"
        stack.callback(kill_all)
        _run("ip", "link", "add", "egopack-br", "type", "bridge")
        stack.callback(_run, "ip", "link", "del", "egopack-br")
        _run("ip", "addr", "add", f"{head}/24", "dev", "egopack-br")
        _run("ip", "link", "set", "egopack-br", "up")
        options = ("--head", f"--port={port}", f"--temp-dir={folder}", "--include-dashboard=false")
        stack.enter_context(_raylet(python, folder, "head", head, options))
        _wait_until_started(folder, "head")
        nodes = []
        for number in range(1, workers + 1):
            name, address = f"egopack-w{number}", f"{NETWORK}.{number + 1}"
            stack.enter_context(_namespace(name, address, number))
            joins = (f"--address={head}:{port}",)
            stack.enter_context(_raylet(python, folder, name, address, joins))
            nodes.append(Node(name, address))
        for node in nodes:
            _wait_until_started(folder, node.name)
        yield nodes


def head_address(port: int) -> str:
    """Where the head listens."""
    return f"{NETWORK}.1:{port}"


@contextmanager
def _namespace(name: str, address: str, number: int) -> Iterator[None]:
    here, there = f"ego-h{number}", f"ego-n{number}"
    within = ("ip", "netns", "exec", name, "ip")
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
        _run("ip", "link", "set", here, "master", "egopack-br", "up")
        _run(*within, "addr", "add", f"{address}/24", "dev", there)
        _run(*within, "link", "set", there, "up")
        _run(*within, "link", "set", "lo", "up")
        yield
    finally:
        for pid in _out("ip", "netns", "pids", name).split():
            os.kill(int(pid), signal.SIGKILL)
        _run("ip", "netns", "del", name)


@contextmanager
def _raylet(
    python: str, folder: Path, name: str, address: str, options: tuple[str, ...]
) -> Iterator[None]:
    # A worker has its own folder and shared memory: `ip netns exec` gives it its own mounts.
    mounts = f"mount -t tmpfs none {folder} && mount -t tmpfs none /dev/shm && exec \"$@\""
    within = () if name == "head" else ("ip", "netns", "exec", name, "sh", "-c", mounts, name)
    command = [
        *within, python, *RAY, "start", *options, f"--node-ip-address={address}", "--num-cpus=1",
        "--object-store-memory=300000000", "--block", "--disable-usage-stats",
    ]  # fmt: skip
    with _log(folder, name).open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, start_new_session=True, env=_environment()
        )
        try:
            yield
        finally:
            process.kill()  # told kindly, it waits for tasks for half a minute
            process.wait()


def _log(folder: Path, name: str) -> Path:
    return folder.parent / f"{name}.log"


def _environment() -> dict[str, str]:
    """Its caller's: `RAY_AUTH_MODE` and `RAY_AUTH_TOKEN` have to be the same everywhere."""
    return {
        **os.environ,
        MARK: str(os.getpid()),
        "PYTHONPATH": os.getcwd(),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "server.cluster.proxy:middlewares",
    }


def _wait_until_started(folder: Path, name: str, timeout_s: float = 90) -> None:
    until_s = time.monotonic() + timeout_s
    while b"Ray runtime started" not in (said := _log(folder, name).read_bytes()):
        if time.monotonic() > until_s:
            raise RuntimeError(f"a raylet did not start:\n{said.decode()}")
        time.sleep(0.1)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def _out(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
