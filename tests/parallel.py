"""Distribution of the tests over pytest-xdist workers: whole files, the longest first.

A file stays on one worker, so that its module fixtures (servers, bundles) are made once. A test
marked `xdist_group` goes with its group instead: several files that share a session fixture, or
a single long test that shares nothing.
"""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LONGEST = (
    "tests/end_to_end",
    "tests/server/cluster/test_on_ray.py",
    "tests/cluster",
)
"""Files and folders of the longest units of work, in the order in which they are handed out."""

WORKER_BYTES = 4 << 30
"""Memory of a worker and of the servers that its tests start."""


def by_cost(item: pytest.Item) -> int:
    """Sort key: the place in `LONGEST`."""
    path = item.path.relative_to(ROOT).as_posix()
    return next((n for n, long in enumerate(LONGEST) if path.startswith(long)), len(LONGEST))


def worker_count() -> int:
    """One worker more than there are cores, since servers are waited for, as far as memory goes."""
    cores = os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(1, min(cores + 1, memory // WORKER_BYTES))


def make_scheduler(config: pytest.Config, log):
    """A scheduler of `--dist loadgroup` whose tests without a group go by file."""
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadGroupScheduling

    class ByFile(LoadGroupScheduling):
        def _split_scope(self, nodeid: str) -> str:
            scope = super()._split_scope(nodeid)
            return nodeid.partition("::")[0] if scope == nodeid else scope

    config.option.loadscopereorder = False
    return ByFile(config, log)
