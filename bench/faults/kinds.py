"""Kinds of faults: how each one is caused, and how it ends."""

import contextlib
import os
import resource
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.faults.subject import Subject, filled, wait_for
from bench.load.watch import process_tree


class CannotCause(Exception):
    """This machine does not let this user cause the fault."""


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        name: row of the table.
        cause: the fault lasts for the block; yields the jobs that were accepted meanwhile.
        is_kill: the server dies of it, and another one is started.
        store: of the jobs: SQLite or PostgreSQL.
        is_long_sent: the prediction is of the long clip, for which memory was not used before.
    """

    name: str
    cause: Callable[[Subject], "contextlib.AbstractContextManager[list[str]]"]
    is_kill: bool = False
    store: str = "SQLite"
    is_long_sent: bool = False


@contextmanager
def _killed_in_upload(one: Subject) -> Iterator[list[str]]:
    host, port = str(one.http.base_url).removeprefix("http://").strip("/").rsplit(":", 1)
    body = one.long.read_bytes()
    head = (
        f"POST /v1/predictions HTTP/1.1\r\nHost: {host}\r\nPrefer: respond-async\r\n"
        f"Content-Type: video/mp4\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((host, int(port))) as caller:
        caller.sendall(head.encode() + body[: len(body) // 2])
        incoming = one.state / "incoming"
        wait_for(lambda: any(p.is_file() for p in incoming.rglob("*")), "the upload")
        one.kill()
    yield []


def _killed_at(stage: str) -> Callable[[Subject], "contextlib.AbstractContextManager[list[str]]"]:
    @contextmanager
    def cause(one: Subject) -> Iterator[list[str]]:
        ids = [one.submit(one.long)]
        if stage == "queued":
            ids.append(one.submit(one.clip))
            wait_for(lambda: one.job(ids[0])["state"] == "running", "a running job")
        elif stage == "webhook":
            one.receiver.hold.set()
            wait_for(one.receiver.held.is_set, "the webhook")
        else:
            one.until_stage(ids[0], stage)
        one.kill()
        one.receiver.hold.clear()
        yield ids

    return cause


@contextmanager
def _killed_in_writing(one: Subject) -> Iterator[list[str]]:
    with _full("state")(one) as ids:
        one.kill()
    yield ids


def _full(disk: str) -> Callable[[Subject], "contextlib.AbstractContextManager[list[str]]"]:
    @contextmanager
    def cause(one: Subject) -> Iterator[list[str]]:
        if not one.has_disks:
            raise CannotCause("no disk can be mounted")
        ids = [] if disk == "spool" else [_running(one)]
        with filled(one.state if disk == "state" else one.spool):
            if disk == "state":
                one.until_stage(ids[0], "waiting")
            yield ids

    return cause


def _read_only(disk: str) -> Callable[[Subject], "contextlib.AbstractContextManager[list[str]]"]:
    @contextmanager
    def cause(one: Subject) -> Iterator[list[str]]:
        if not one.has_disks:
            raise CannotCause("no disk can be mounted")
        folder = one.spool if disk == "spool" else one.state / "results"
        if disk != "spool":  # the database keeps the whole disk open: its folder of results alone
            subprocess.run(["mount", "--bind", folder, folder], check=True, capture_output=True)
        how = "remount,ro" if disk == "spool" else "remount,bind,ro"
        done = subprocess.run(["mount", "-o", how, folder], check=False, capture_output=True)
        try:
            if done.returncode != 0:
                raise CannotCause("the disk is in use")
            ids = [] if disk == "spool" else [_running(one)]
            if ids:
                one.until_stage(ids[0], "waiting")
            yield ids
        finally:
            again = ["-o", "remount,rw"] if disk == "spool" else []
            how = "mount" if disk == "spool" else "umount"
            subprocess.run([how, *again, str(folder)], check=False, capture_output=True)

    return cause


@contextmanager
def _frozen_store(one: Subject) -> Iterator[list[str]]:
    ids = [_running(one)]
    file = one.state / "jobs.sqlite3"
    with contextlib.closing(sqlite3.connect(file, isolation_level=None, timeout=60)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield ids


@contextmanager
def _frozen_postgres(one: Subject) -> Iterator[list[str]]:
    assert one.postgres is not None
    ids = [_running(one)]
    with one.postgres.frozen():
        yield ids


@contextmanager
def _stopped_postgres(one: Subject) -> Iterator[list[str]]:
    assert one.postgres is not None
    ids = [_running(one)]
    one.postgres.stop()
    try:
        yield ids
    finally:
        one.postgres.start()


@contextmanager
def _no_descriptors(one: Subject) -> Iterator[list[str]]:
    """Those that are open stay so; not one more file or connection can be opened."""
    ids, pid = [_running(one)], _pid(one)
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        yield ids
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


@contextmanager
def _no_memory(one: Subject) -> Iterator[list[str]]:
    ids, pid = [_running(one)], _pid(one)
    before = resource.prlimit(pid, resource.RLIMIT_AS)
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + (1 << 20)
    resource.prlimit(pid, resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield ids
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_AS, before)


def _stepped(by_s: float) -> Callable[[Subject], "contextlib.AbstractContextManager[list[str]]"]:
    @contextmanager
    def cause(one: Subject) -> Iterator[list[str]]:
        ids = [_running(one)]
        one.clock.write_text(str(by_s))
        try:
            yield ids
        finally:
            one.clock.write_text("0")

    return cause


@contextmanager
def _stopped_decoders(one: Subject) -> Iterator[list[str]]:
    ids = [_running(one)]
    stopped = [pid for pid in process_tree(_pid(one))[1:] if _is_decoder(pid)]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    yield ids
    for pid in stopped:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@contextmanager
def _broken_bundle(one: Subject) -> Iterator[list[str]]:
    ids = [_running(one)]
    weights = max(one.bundle.rglob("*.safetensors"), key=lambda path: path.stat().st_size)
    whole = weights.read_bytes()
    new = weights.with_suffix(".new")  # the mapped file stays as it is
    new.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    new.replace(weights)
    os.kill(_pid(one), signal.SIGHUP)
    wait_for(lambda: _last_reload(one) == "failed", "the refusal of the bundle")
    yield ids
    new.write_bytes(whole)
    new.replace(weights)


def _last_reload(one: Subject) -> str:
    checks = one.http.get("/readyz?verbose=1").json().get("checks", {})
    return str(checks.get("reload"))


def _running(one: Subject) -> str:
    """The id of a job that has begun."""
    job_id = one.submit(one.long)
    wait_for(lambda: one.job(job_id)["state"] == "running", "a running job")
    return job_id


def _pid(one: Subject) -> int:
    assert one.process is not None
    return one.process.pid


def _is_decoder(pid: int) -> bool:
    try:
        return b"extract.sandbox" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


FAULTS = (
    Fault("disk of jobs full", _full("state")),
    Fault("folder of results read-only", _read_only("results")),
    Fault("disk of clips full", _full("spool")),
    Fault("disk of clips read-only", _read_only("spool")),
    Fault("store locked", _frozen_store),
    Fault("store frozen (PostgreSQL)", _frozen_postgres, store="PostgreSQL"),
    Fault("store gone (PostgreSQL)", _stopped_postgres, store="PostgreSQL"),
    Fault("no descriptors left", _no_descriptors),
    Fault("clock an hour ahead", _stepped(3600.0)),
    Fault("clock an hour back", _stepped(-3600.0)),
    Fault("decoders stopped", _stopped_decoders),
    Fault("bundle broken, then reloaded", _broken_bundle),
    Fault("no memory left", _no_memory, is_long_sent=True),
    Fault("killed: upload", _killed_in_upload, is_kill=True),
    Fault("killed: job queued", _killed_at("queued"), is_kill=True),
    Fault("killed: decoding", _killed_at("started"), is_kill=True),
    Fault("killed: encoding", _killed_at("features"), is_kill=True),
    Fault("killed: writing the result", _killed_in_writing, is_kill=True),
    Fault("killed: webhook", _killed_at("webhook"), is_kill=True),
)
