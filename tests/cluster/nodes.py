"""A Ray cluster on one machine: a head and workers, each with an address of its own.

Where the system lets us (root on Linux), every worker lives in a network namespace behind a
bridge, as machines do behind a switch; elsewhere each takes an address of the loopback network.
The head shares the network of whoever asked for it, so that a driver started there finds it.
Ordinary processes: `Node.kill` is what a power cut is.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[2]
MARK = "EGOPACK_TEST_NODE"
_IS_UP = "Ray runtime started."
_IS_SLOW = "The current node timed out during startup."
_STARTS = 4
"""Tries: Ray gives a node 30 s to come up, whatever else the machine does."""
_OPTIONS = (
    "--num-gpus=0",
    "--object-store-memory=100000000",  # Ray refuses less than 75 MB
    "--disable-usage-stats",
)


class Node:
    """One raylet and what it started.

    Attributes:
        ip: its address.
    """

    def __init__(
        self,
        ip: str,
        prefix: Sequence[str],
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
    ) -> None:
        """Starts it; `prefix` is what runs a command in its network, `folder` its own disk."""
        self.ip = ip
        self._mark = secrets.token_hex(8)
        self._log = folder / "start.log"
        folder.mkdir()
        ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", *arguments]
        own = [f"--node-ip-address={ip}", f"--temp-dir={folder}", *_OPTIONS]
        self._command = [*prefix, *ray, *own]
        ours = {"PYTHONPATH": str(ROOT), MARK: self._mark}
        self._environment = {**os.environ, **environment, **ours}
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log.open("wb") as file:
            return subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._environment,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def pids(self, command: str = "") -> list[int]:
        """Returns its processes whose command line holds a text; Ray's actors name their class."""
        return marked(self._mark, command)

    def wait_up(self) -> None:
        """Waits until it has joined its cluster."""
        for start in range(_STARTS):
            wait_for(lambda: self._is_up() or self._process.poll() is not None)
            if self._is_up():
                return
            said = self._log.read_text()
            if _IS_SLOW not in said or start == _STARTS - 1:
                raise RuntimeError(f"the node {self.ip} is not up\n{said}")
            self.kill()
            self._process = self._start()

    def _is_up(self) -> bool:
        return _IS_UP in self._log.read_text()

    def kill(self) -> None:
        """Ends every process of the node at once."""
        while pids := self.pids():
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            if self._process.pid in pids:
                self._process.wait()
            time.sleep(0.01)


def marked(mark: str, command: str = "") -> list[int]:
    """Returns the processes started with that mark in their environment, theirs included."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            is_ours = f"{MARK}={mark}".encode() in (path / "environ").read_bytes()
            if is_ours and command.encode() in (path / "cmdline").read_bytes():
                found.append(int(path.name))
        except OSError:  # it has just ended
            continue
    return found


@dataclass(frozen=True)
class Cluster:
    """A head and its workers.

    Attributes:
        address: what `--address` takes.
        environment: what whoever talks to it needs: it runs code for those who know its token.
        head: the node of drivers.
        workers: the others.
    """

    address: str
    environment: Mapping[str, str]
    head: Node
    workers: Sequence[Node]


@contextmanager
def cluster(workers: int = 2, *, cpus: int = 2, head_cpus: int = 0) -> Iterator[Cluster]:
    """Yields a cluster that is up; nothing of it is left afterwards.

    Args:
        workers: nodes beside the head.
        cpus: of each worker, as Ray counts them.
        head_cpus: 0 leaves the head to drivers.
    """
    with ExitStack() as stack:
        # Short: the name of a socket below it may have 107 characters.
        folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        hosts, prefixes = _network(workers + 1, stack)
        port = _free_port(hosts[0])
        address = f"{hosts[0]}:{port}"
        environment = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        nodes: list[Node] = []
        for number, (host, prefix) in enumerate(zip(hosts, prefixes, strict=True)):
            arguments = [f"--address={address}", f"--num-cpus={cpus}"]
            if number == 0:
                arguments = ["--head", f"--port={port}", "--include-dashboard=false"]
                arguments.append(f"--num-cpus={head_cpus}")
            nodes.append(Node(host, prefix, arguments, environment, folder / str(number)))
            stack.callback(nodes[-1].kill)
            if number in (0, workers):
                for node in nodes:
                    node.wait_up()
        yield Cluster(address, environment, nodes[0], nodes[1:])


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as server:
        return int(server.getsockname()[1])


def _network(count: int, stack: ExitStack) -> tuple[list[str], list[list[str]]]:
    """Returns addresses, the first of them ours, and what runs a command at each."""
    with ExitStack() as attempt:
        try:
            made = _namespaces(count, attempt)
        except (OSError, subprocess.CalledProcessError):  # not root, or no Linux
            return [f"127.0.0.{k + 1}" for k in range(count)], [[] for _ in range(count)]
        stack.push(attempt.pop_all())
        return made


def _namespaces(count: int, stack: ExitStack) -> tuple[list[str], list[list[str]]]:
    name = f"ego{secrets.token_hex(2)}"
    subnet = f"10.{secrets.randbelow(100) + 100}.{secrets.randbelow(256)}"
    _ip("link", "add", name, "type", "bridge")
    stack.callback(_ip, "link", "delete", name)
    _ip("address", "add", f"{subnet}.1/24", "dev", name)
    _ip("link", "set", name, "up")
    prefixes: list[list[str]] = [[]]
    for k in range(1, count):
        space, end = f"{name}-{k}", f"{name}v{k}"
        _ip("netns", "add", space)
        stack.callback(_ip, "netns", "delete", space)
        _ip("link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", space)
        _ip("link", "set", end, "master", name, "up")
        _ip("-n", space, "address", "add", f"{subnet}.{k + 1}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", space, "link", "set", device, "up")
        # Leads nowhere, but Ray asks the routes which address is its own.
        _ip("-n", space, "route", "add", "default", "via", f"{subnet}.1")
        prefixes.append(["ip", "netns", "exec", space])
    return [f"{subnet}.{k + 1}" for k in range(count)], prefixes


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
