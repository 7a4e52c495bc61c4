"""Ray session: a cluster joined or started, without console output, and left as it was found.

Only module with `ray.init`. Ray is imported inside functions: the base install has none.
"""

import logging
import os
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from extract.cpu import usable_cores
from extract.errors import ClusterFailed
from weights.storage.folders import Place

EXTRA = 'pip install "egopack-server[scale]"'
_PROBE_S = 120.0  # time for a slow node to start its first process
_STORE_BYTES = 128 * 1024 * 1024  # names and results go through it, not pixels
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    # A thread of Ray Data's that outlives the session would start a cluster of its own.
    "RAY_ENABLE_AUTO_CONNECT": "0",
}


@dataclass(frozen=True)
class Resources:
    """Number of actors, and resources of each.

    Attributes:
        actors: at once.
        cpus: of each, as Ray counts them.
        gpus: of each, 0 or 1.
    """

    actors: int
    cpus: int
    gpus: int


@contextmanager
def ray_session(address: str | None) -> Iterator[Any]:
    """Yields `ray`, connected; a cluster that was started for this is ended afterwards.

    Args:
        address: of a cluster, "auto", or None to start one of this machine alone.

    Raises:
        ClusterFailed: Ray is not installed, or there is no such cluster.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ClusterFailed(f"the engine ray needs Ray: {EXTRA} ({error})") from error
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    # In Ray's default place: paths of its sockets may have 107 characters.
    with tempfile.TemporaryDirectory(
        prefix="ray", dir="/tmp", ignore_cleanup_errors=True
    ) as folder:
        alone = {
            "num_cpus": usable_cores(),
            "include_dashboard": False,
            "object_store_memory": _STORE_BYTES,
            "_node_ip_address": "127.0.0.1",
            "_temp_dir": folder,
        }
        on_term = signal.getsignal(signal.SIGTERM)
        try:
            with _stderr_shut():  # it announces there that logging is off
                ray.init(address or "local", **quiet, **({} if address else alone))
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            where = f"at {address}" if address else "on this machine"
            raise ClusterFailed(f"no Ray cluster {where}: {error}") from error
        signal.signal(signal.SIGTERM, on_term)  # Ray replaces the handler when it connects
        _silence()
        # Ray prints the deaths of workers to stdout, some of them at shutdown.
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
            try:
                yield ray
            finally:
                ray.shutdown()


def find_room(ray: Any, *, cpus: int, wants_gpu: bool, actors: int | None) -> Resources:
    """Returns the resources of actors: as many as requested, else as many as fit.

    Args:
        ray: connected.
        cpus: of an actor; fewer if no node has as many.
        wants_gpu: use GPUs if there are any.
        actors: requested number.

    Raises:
        ClusterFailed: no node can hold one.
    """
    nodes = [node["Resources"] for node in _living(ray)]
    gpus = wants_gpu and any(node.get("GPU", 0) >= 1 for node in nodes)
    if gpus:
        nodes = [node for node in nodes if node.get("GPU", 0) >= 1]
    most = max((int(node.get("CPU", 0)) for node in nodes), default=0)
    if most < 1:
        raise ClusterFailed(f"none of the {len(nodes)} nodes of the cluster offers a CPU")
    cpus = min(cpus, most)
    fitting = sum(
        min(int(node.get("CPU", 0)) // cpus, int(node["GPU"]) if gpus else 10**6) for node in nodes
    )
    return Resources(actors or fitting, cpus, int(gpus))


def absolute_place(place: Place) -> Place:
    """Returns a place that is valid in any working folder."""
    return place.absolute() if isinstance(place, Path) else place


def check_paths(ray: Any, inputs: Sequence[Place], out: Place | None = None) -> None:
    """Checks from every node with a CPU that it sees the same files.

    Args:
        ray: connected.
        inputs: paths that each has to see; URLs are not checked.
        out: a folder that each has to see and to write into, or a URL.

    Raises:
        ClusterFailed: a node does not, or does not reply.
    """
    token = None
    paths = [path for path in inputs if isinstance(path, Path)]
    if isinstance(out, Path):
        out.mkdir(parents=True, exist_ok=True)
        token = out / f".probe-{uuid4().hex}.tmp"  # an empty folder of the same path proves nothing
        token.touch()
    try:
        for ip, complaint in _complaints(ray, paths, token):
            if complaint:
                raise ClusterFailed(
                    f"node {ip} {complaint}: results, inputs and weights must lie on storage that "
                    "every node has under the same path, such as NFS, or behind a URL"
                )
    finally:
        if token is not None:
            token.unlink(missing_ok=True)


def _complaints(ray: Any, inputs: Sequence[Path], token: Path | None) -> Iterator[tuple[str, str]]:
    """Yields the address of each node, and its complaint."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    probe = ray.remote(num_cpus=0, max_retries=1)(_complaint)
    replies = {}
    for node in _living(ray):
        if node["Resources"].get("CPU", 0) >= 1:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            answer = probe.options(scheduling_strategy=there).remote(
                [str(path.absolute()) for path in inputs], str(token.absolute()) if token else None
            )
            replies[node["NodeManagerAddress"]] = answer
    for ip, answer in replies.items():
        try:
            yield ip, ray.get(answer, timeout=_PROBE_S)
        except (ray.exceptions.RayError, ImportError) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise ClusterFailed(
                f"node {ip} cannot work; is the same release of this software installed there? "
                f"{lines[-1]}"
            ) from error


def _complaint(inputs: Sequence[str], token: str | None) -> str:
    """Returns what this machine lacks, or ""; runs on each node."""
    if token is not None:
        folder = Path(token).parent
        if not Path(token).exists():
            return f"does not see {folder}"
        try:
            with tempfile.NamedTemporaryFile(dir=folder):
                pass
        except OSError as error:
            return f"cannot write into {folder} ({error})"
    missing = [path for path in inputs if not Path(path).exists()]
    return f"does not see {missing[0]}" if missing else ""


def _living(ray: Any) -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


@contextmanager
def _stderr_shut() -> Iterator[None]:
    """Discards what native code writes to standard error."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _silence() -> None:
    """Keeps Ray Data's messages off the terminal; its log files have them."""
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    for handler in logging.getLogger("ray.data").handlers:
        if "File" not in type(handler).__name__:
            handler.setLevel(logging.CRITICAL + 1)
