"""Fault matrix: faults of the machine x what callers see x what recovers by itself.

Each fault is caused under a real server in mid-job; what this user may not cause here is said to be
not run. Rows that are done are kept in `--work`, so that a stopped run goes on with the others.
"""

import argparse
import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tqdm import tqdm

from bench.faults.kinds import FAULTS, CannotCause, Fault
from bench.faults.postgres import PostgresServer, find_programs
from bench.faults.subject import Missed, Subject, wait_for
from weights import SHIPPED_BUNDLE

COLUMNS = ("readyz", "prediction", "new job", "jobs", "recovers", "ended once")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags."""
    parser.add_argument("--work", type=Path, default=Path("work/faults"), help="folder of rows")
    parser.add_argument("--only", action="append", help="a fault by its name; repeatable")


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Causes every fault that has no row yet; returns the rows."""
    arguments.work.mkdir(parents=True, exist_ok=True)
    names = arguments.only or [fault.name for fault in FAULTS]
    wanted = [fault for fault in FAULTS if fault.name in names]
    rows = {one.name: arguments.work / f"{_slug(one.name)}.json" for one in FAULTS}
    missing = [fault for fault in wanted if not rows[fault.name].exists()]
    if missing:
        with tempfile.TemporaryDirectory(prefix="egopack-faults-") as folder:
            subjects = _Subjects(Path(folder))
            with subjects.opened:
                for fault in tqdm(missing, unit="fault"):
                    rows[fault.name].write_text(json.dumps(_row(fault, subjects)))
    found = {name: json.loads(path.read_text()) for name, path in rows.items() if path.exists()}
    passed = all(row.get("passed", True) for row in found.values())
    return {"faults": found, "passed": passed}


def table(figures: dict[str, Any]) -> str:
    """Returns the rows as Markdown."""
    lines = [
        "| fault | `/readyz` | a prediction | a new job | `/v1/jobs` | after it | ended once |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in figures["faults"].items():
        cells = [row.get(column, "") for column in COLUMNS]
        lines.append("| " + " | ".join([name, *cells]) + " |")
    return "\n".join(lines)


class _Subjects:
    """A server for each kind of store, made when the first fault needs it."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.opened = folder, ExitStack()
        self._made: dict[str, Subject] = {}

    def get(self, store: str) -> Subject:
        if store not in self._made:
            postgres = None
            if store == "PostgreSQL":
                programs = find_programs()
                if programs is None:
                    raise CannotCause("no PostgreSQL programs")
                postgres = PostgresServer(programs)
            self._made[store] = Subject(self._folder / store, SHIPPED_BUNDLE, postgres)
            self.opened.callback(self._made[store].close)
        return self._made[store]


def _row(fault: Fault, subjects: _Subjects) -> dict[str, Any]:
    """Causes a fault, calls meanwhile, waits for its end and checks every accepted job."""
    try:
        subject = subjects.get(fault.store)
        subject.start()
        seen: dict[str, str] = {}
        accepted: list[str] = []
        with fault.cause(subject) as ids:
            if not fault.is_kill:
                time.sleep(6.0)  # one round of the server's own probes
                seen, accepted = subject.callers(
                    subject.long if fault.is_long_sent else subject.clip
                )
        ended_s = time.monotonic()
        has_died = subject.process is not None and subject.process.poll() is not None
        subject.start()
        ready = lambda: subject.http.get("/readyz").status_code == 200  # noqa: E731
        wait_for(ready, "readiness")
        took_s = time.monotonic() - ended_s
        ends = subject.check_ends([*ids, *accepted])
    except CannotCause as reason:
        return {"recovers": f"not run: {reason}"}
    except Missed as what:
        return {"recovers": f"missed: {what}", "passed": False}
    count, _, of = ends.partition(" of ")
    how = f"restarted, ready after {took_s:.0f} s" if has_died else "by itself"
    return {**seen, "recovers": how, "ended once": ends, "passed": count == of}


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)
