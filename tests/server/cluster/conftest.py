"""One server on Ray, on three nodes with addresses of their own, for all tests that need one."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from server.cluster.launch import PROXY_VARIABLE
from server.cluster.proxy import CALLBACK
from tests.cluster.nodes import Cluster, Node, cluster
from tests.support.waiting import PATIENCE_S
from weights import SHIPPED_BUNDLE
from weights.bundle import load_bundle, save_bundle


@dataclass
class OnRay:
    """A server on Ray, as its callers and its operator see it."""

    http: httpx.Client
    process: subprocess.Popen[str]
    cluster: Cluster
    served: Path  # a link to the bundle
    bundles: Path
    log: Path

    @property
    def nodes(self) -> list[Node]:
        return [self.cluster.head, *self.cluster.workers]

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
        words = f"ServeReplica:egopack:{deployment}"
        return [pid for node in self.nodes for pid in node.pids(words)]


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


@pytest.fixture(scope="module")
def on_ray(bundles, tmp_path_factory) -> Iterator[OnRay]:
    folder = tmp_path_factory.mktemp("on-ray")
    served = folder / "bundle"
    served.symlink_to(bundles / "1")
    log = folder / "server.log"
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv(PROXY_VARIABLE, CALLBACK)
        patch.setenv("EGOPACK_STATE_DIR", str(folder / "state"))
        made = stack.enter_context(cluster(workers=2, cpus=1, head_cpus=1))
        for name, value in made.environment.items():
            patch.setenv(name, value)
        flags = [f"--bundle={served}", f"--ray-address={made.address}", "--encoders=2",
                 "--runtime=torch", "--decode-workers=1", "--port=0",
                 "--drain-delay-s=1"]  # fmt: skip
        process, url = stack.enter_context(_server(flags, log))
        http = stack.enter_context(httpx.Client(base_url=url, trust_env=False, timeout=PATIENCE_S))
        yield OnRay(http, process, made, served, bundles, log)


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
            found = re.search(r"http://\S+?(?=/\s)", line)
            assert found, f"{line}\n{log.read_text()}"
            yield process, found.group()
        finally:
            process.terminate()
            try:
                process.communicate(timeout=PATIENCE_S)
            finally:
                process.kill()
