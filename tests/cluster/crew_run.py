"""python -m tests.cluster.crew_run ADDRESS SCENARIO: toy work on a cluster; prints what came of it.

A process of its own: Ray reads the token of a cluster when it is imported.
"""

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from extract.cluster.actors import ActorPool, Begun, Done, ProgressCallback, Work
from extract.cluster.session import Resources, check_paths, ray_session
from extract.errors import ClusterFailed

POISON = ("poison-1", "poison-2")
FINE = [f"fine-{number}" for number in range(12)]


def make_toy() -> Work:
    return toy


def toy(units: Mapping[str, str], tell: ProgressCallback) -> Iterator[tuple[str, str]]:
    """Answers with the unit in capitals; what is called poison ends the process."""
    time.sleep(0.1)
    for id, unit in units.items():
        if id in POISON:
            os._exit(7)
        yield id, unit.upper()


def make_none() -> Work:
    raise FileNotFoundError("no weights here")


def make_clumsy() -> Work:
    def work(units: Mapping[str, str], tell: ProgressCallback) -> Iterator[tuple[str, str]]:
        raise RuntimeError("out of memory")

    return work


SCENARIOS = {
    "poison": (make_toy, [*FINE[:3], POISON[0], *FINE[3:8], POISON[1], *FINE[8:]]),
    "unfit": (make_none, FINE),
    "clumsy": (make_clumsy, FINE),
}


def run(ray: Any, scenario: str) -> dict[str, Any]:
    """What became of the units of a scenario."""
    make, ids = SCENARIOS[scenario]
    done: dict[str, str] = {}
    given_up, begun, failed = [], Counter[str](), None
    crew = ActorPool(ray, make, Resources(actors=2, cpus=1, gpus=0), together=3)
    try:
        for news in crew.run({id: id for id in ids}, lambda: False):
            if isinstance(news, Begun):
                begun[news.id] += 1
            elif isinstance(news, Done):
                assert news.id not in done, "twice"
                done[news.id] = news.result
            else:
                given_up.append(news.id)
    except ClusterFailed as error:
        failed = str(error)
    return {"done": done, "given_up": given_up, "begun": begun, "failed": failed}


def check(ray: Any, path: Path) -> dict[str, Any]:
    """What is said of a path."""
    try:
        check_paths(ray, [path])
    except ClusterFailed as error:
        return {"failed": str(error)}
    return {"failed": None}


def main(address: str, *scenarios: str) -> None:
    found = {}
    with ray_session(address) as ray:
        for scenario in scenarios:
            kind, _, path = scenario.partition(":")
            found[scenario] = check(ray, Path(path)) if kind == "check" else run(ray, scenario)
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
