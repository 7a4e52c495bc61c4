"""One server on Ray for all tests that need one: in three nodes with addresses of their own if the
system lets us make them, else on one.
"""

import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from server.settings import SHIPPED_BUNDLE
from tests.cluster.nodes import MARK, Node, cluster, head_address, is_possible, kill_all, marked
from weights.bundle import load_bundle, save_bundle

PORT = 6399


@dataclass
class OnRay:
    """A server on Ray, as its callers and its operator see it."""

    http: httpx.Client
    process: subprocess.Popen[str]
    nodes: list[Node]
    served: Path  # a link to the bundle
    bundles: Path
    log: Path

    def serve_bundle(self, name: str) -> None:
        """Swaps the link and says so."""
        link = self.served.with_suffix(".new")
        link.symlink_to(self.bundles / name)
        os.replace(link, self.served)
        self.process.send_signal(signal.SIGHUP)

    def checks(self) -> dict[str, str]:
        answer = self.http.get("/readyz", params={"verbose": True})
        found: dict[str, str] = answer.json().get("checks", {})
        return found

    def replicas(self, deployment: str) -> list[int]:
        """Processes of a deployment, on every node."""
        return marked(f"ServeReplica:egopack:{deployment}")


def wait_for(condition, timeout_s: float = 90.0) -> None:
    until_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until_s, "it did not come true in time"
        time.sleep(0.1)


@pytest.fixture(scope="session")
def bundles(tmp_path_factory) -> Path:
    """Two bundles that differ in their version, and one that cannot be trusted."""
    folder = tmp_path_factory.mktemp("bundles")
    shipped = load_bundle(SHIPPED_BUNDLE)
    for version in ("1", "2"):
        manifest = replace(shipped.manifest, version=version)
        save_bundle(replace(shipped, manifest=manifest), folder / version)
    broken = folder / "broken"
    save_bundle(shipped, broken)
    weights = broken / "encoder.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\xff")
    return folder


@pytest.fixture(scope="session")
def on_ray(bundles, tmp_path_factory) -> Iterator[OnRay]:
    token = secrets.token_hex(32)
    with (
        pytest.MonkeyPatch.context() as patch,
        # Sockets are in it, whose names may not be long.
        tempfile.TemporaryDirectory(prefix="er", dir="/tmp", ignore_cleanup_errors=True) as short,
        ExitStack() as stack,
    ):
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", token)
        patch.setenv("RAY_TMPDIR", f"{short}/r")
        patch.setenv(MARK, str(os.getpid()))
        patch.setenv("EGOPACK_STATE_DIR", f"{short}/state")
        (Path(short) / "r").mkdir()
        stack.callback(kill_all)
        nodes, joins = [], []
        if is_possible():
            made = cluster(sys.executable, Path(short) / "r", workers=2, port=PORT)
            nodes, joins = stack.enter_context(made), [f"--ray-address={head_address(PORT)}"]
        served = Path(short) / "bundle"
        served.symlink_to(bundles / "1")
        log = Path(short) / "server.log"
        flags = [f"--bundle={served}", "--encoders=2", "--runtime=torch", "--decode-workers=1",
                 "--port=0", "--drain-delay-s=1", *joins]  # fmt: skip
        process, url = stack.enter_context(_server(flags, log))
        http = stack.enter_context(httpx.Client(base_url=url, trust_env=False, timeout=90))
        yield OnRay(http, process, nodes, served, bundles, log)


@contextmanager
def _server(flags: list[str], log: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "server", "--ray", *flags],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"http://\S+?(?=/docs)", line)
            assert found, f"{line}\n{log.read_text()}"
            yield process, found.group()
        finally:
            process.terminate()
            try:
                process.communicate(timeout=60)
            finally:
                process.kill()
