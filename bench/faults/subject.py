"""Server under test: its process, its folders on small disks of their own, and its callers."""

import contextlib
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

import httpx

from bench.faults.postgres import PostgresServer
from bench.videos import make_clip

SECRET = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"
CALL_S = 60.0
"""Longest wait of a caller while there is a fault."""

PATIENCE_S = 600.0
"""Longest wait for what has to come."""

DISK_MB = 64
Found = TypeVar("Found")


class Missed(Exception):
    """What had to come did not; the message says what."""


def wait_for(condition: Callable[[], Found], what: str) -> Found:
    """Returns the first true value of a condition.

    Raises:
        Missed: there was none.
    """
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        with contextlib.suppress(httpx.TransportError):
            if found := condition():
                return found
        time.sleep(0.02)
    raise Missed(what)


class Receiver:
    """Takes webhooks; `hold` keeps them without an answer.

    Attributes:
        messages: message ids received, by job.
        held: set once a message is kept.
    """

    def __init__(self) -> None:
        self.messages: dict[str, set[str]] = {}
        self.hold, self.held = threading.Event(), threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                ids = receiver.messages.setdefault(body["data"]["id"], set())
                ids.add(self.headers["webhook-id"])
                while receiver.hold.is_set():
                    receiver.held.set()
                    time.sleep(0.05)
                with contextlib.suppress(OSError):
                    self.send_response(204)
                    self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/"


class Subject:
    """One server after another, on the same folders.

    Attributes:
        state: folder of jobs.
        spool: folder of clips.
        bundle: a copy of the shipped bundle.
        clock: file with the seconds by which its clock is wrong.
        has_disks: both folders are disks of their own, which can be filled.
        postgres: holds the jobs; None where SQLite in the folder of jobs does.
        process: the running server.
        http: calls it.
    """

    def __init__(self, folder: Path, bundle: Path, postgres: PostgresServer | None = None) -> None:
        """Makes the folders, on disks of their own where this user may mount any."""
        folder.mkdir()
        self.postgres = postgres
        self.state, self.spool = folder / "state", folder / "spool"
        self.bundle, self.clock = folder / "bundle", folder / "clock"
        shutil.copytree(bundle, self.bundle)
        self.clock.write_text("0")
        self.has_disks = all([_mount(self.state), _mount(self.spool)])
        self.receiver = Receiver()
        self.clip = make_clip(folder / "clip.mp4", seconds=2, width=320, height=180)
        self.long = make_clip(folder / "long.mp4", seconds=30, width=320, height=180)
        self.process: subprocess.Popen[str] | None = None
        self.http = httpx.Client(
            trust_env=False, timeout=PATIENCE_S, limits=httpx.Limits(keepalive_expiry=None)
        )

    def close(self) -> None:
        """Ends the server and the store, and gives the disks back."""
        self.kill()
        if self.postgres is not None:
            self.postgres.close()
        for disk in (self.state, self.spool):
            subprocess.run(["umount", "-l", disk], check=False, capture_output=True)

    def start(self) -> None:
        """Starts a server unless one runs; returns when it is ready.

        Raises:
            Missed: it does not become ready.
        """
        if self.process is not None and self.process.poll() is None:
            return
        folders = ("--state-dir", self.state, "--spool-dir", self.spool, "--bundle", self.bundle)
        jobs: tuple[str, ...] = ("--job-lease-s", "2", "--webhook-secret", SECRET)
        rest = ("--webhook-allow-http", "--webhook-allow-private", "--port", "0")
        if self.postgres is not None:
            jobs += ("--job-database", self.postgres.url("postgres"))
        few = (
            "--drain-delay-s",
            "0",
            "--decode-workers",
            "1",
            "--runtime",
            "torch",
            "--decode-wall-s",
            "15",
        )
        command = [sys.executable, "-m", "bench.faults.stepped", self.clock]
        self.process = subprocess.Popen(
            [str(one) for one in (*command, *folders, *jobs, *rest, *few)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        found = re.search(r"http://\S+?(?=/\s)", self.process.stdout.readline())
        if found is None:
            raise Missed("the server's start")
        self.http.base_url = found.group()
        wait_for(lambda: self.http.get("/readyz").status_code == 200, "readiness")

    def kill(self) -> None:
        """Kills the server."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()

    def submit(self, clip: Path) -> str:
        """Sends a job with a webhook; returns its id.

        Raises:
            Missed: it was not accepted.
        """
        answer = self._post_job(clip)
        if answer.status_code != 202:
            raise Missed(f"a job, {_words(answer)}")
        return str(answer.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        """Returns a job's status."""
        found: dict[str, Any] = self.http.get(f"/v1/jobs/{job_id}").json()
        return found

    def until_stage(self, job_id: str, stage: str) -> None:
        """Waits until a job's progress is at a stage."""
        wait_for(lambda: self.job(job_id).get("progress", {}).get("stage") == stage, stage)

    def callers(self, clip: Path) -> tuple[dict[str, str], list[str]]:
        """Calls as callers do, with a prediction of a clip.

        Returns:
            What they see, and the jobs that were accepted.
        """
        seen, accepted = {}, []
        calls: dict[str, Callable[[], httpx.Response]] = {
            "readyz": lambda: self.http.get("/readyz?verbose=1", timeout=CALL_S),
            "prediction": lambda: self._post(clip),
            "new job": lambda: self._post_job(self.clip, timeout_s=CALL_S),
            "jobs": lambda: self.http.get("/v1/jobs", timeout=CALL_S),
        }
        for name, call in calls.items():
            begun_s = time.monotonic()
            try:
                answer = call()
            except httpx.TransportError as error:
                seen[name] = "no answer" if isinstance(error, httpx.TimeoutException) else "reset"
                continue
            slow_s = time.monotonic() - begun_s
            seen[name] = _words(answer) + (f", {slow_s:.0f} s" if slow_s > 5 else "")
            if name == "new job" and answer.status_code == 202:
                accepted.append(answer.json()["id"])
        return seen, accepted

    def check_ends(self, ids: list[str]) -> str:
        """Waits for the ends of jobs; returns how many ended once, with one result and message.

        Raises:
            Missed: one does not end.
        """
        once = sum(self._ended_once(job_id) for job_id in ids)
        return f"{once} of {len(ids)}"

    def _ended_once(self, job_id: str) -> bool:
        wait_for(lambda: self.job(job_id)["state"] not in LIVE, "a job's end")
        wait_for(lambda: self.receiver.messages.get(job_id), "a job's webhook")
        events = self.http.get(f"/v1/jobs/{job_id}/events").text
        ends = re.findall(r"^event: (completed|error|canceled)$", events, re.MULTILINE)
        result = self.http.get(f"/v1/jobs/{job_id}/result").json()
        is_one = ends == ["completed"] and len(self.receiver.messages[job_id]) == 1
        return is_one and bool(result["id"] == job_id)

    def _post(self, clip: Path) -> httpx.Response:
        files = {"video": ("clip", clip.read_bytes())}
        return self.http.post("/v1/predictions", files=files, timeout=CALL_S)

    def _post_job(self, clip: Path, timeout_s: float = PATIENCE_S) -> httpx.Response:
        options = json.dumps({"webhook_url": self.receiver.url})
        files: dict[str, Any] = {
            "video": ("clip", clip.read_bytes()),
            "request": (None, options, "application/json"),
        }
        headers = {"prefer": "respond-async"}
        return self.http.post("/v1/predictions", files=files, headers=headers, timeout=timeout_s)


LIVE = ("queued", "running")


def _mount(folder: Path) -> bool:
    folder.mkdir()
    options = f"size={DISK_MB}m,mode=0700"
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except OSError:
        return False


def _words(answer: httpx.Response) -> str:
    """A status, with the problem's code or the checks that are not well."""
    body = answer.json()
    if answer.status_code >= 400:
        return f"{answer.status_code} {body.get('code', '')}".strip()
    ill = [f"{k}: {v}" for k, v in (body.get("checks") or {}).items() if k in ("store", "files")]
    ill = [one for one in ill if not one.endswith(": ok")]
    return f"{answer.status_code}" + (f" ({'; '.join(ill)})" if ill else "")


@contextlib.contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Leaves no byte on a disk during the block."""
    ballast = disk / "ballast"
    try:
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 12))
        yield
    finally:
        ballast.unlink()
