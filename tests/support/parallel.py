"""Distribution of the tests over pytest-xdist workers: whole files, the longest first.

A file stays on one worker, so that its module fixtures (servers, bundles) are made once. A test
marked `xdist_group` goes with its group instead: several files that share a session fixture, or
a single long test that shares nothing.
"""

import os
from collections import Counter
from pathlib import Path

import pytest

SERVICE_S = 5.0
"""What a test with a service of its own is taken to cost."""

WORKER_BYTES = 4 << 30
"""Memory of a worker and of the servers that its tests start."""


def sort_by_cost(items: list[pytest.Item]) -> None:
    """Puts the files that take longest first, so that none ends alone."""
    costs: Counter[Path] = Counter()
    for item in items:
        costs[item.path] += _seconds(item)
    items.sort(key=lambda item: -costs[item.path])


def _seconds(item: pytest.Item) -> float:
    """What the marks say: `slow(SECONDS)`, one where `slow` does not say."""
    slow, service = (item.get_closest_marker(name) for name in ("slow", "service"))
    return max((slow.args or (1.0,))[0] if slow else 0.0, SERVICE_S if service else 0.0)


def make_ids_unique(items: list[pytest.Item]) -> None:
    """Gives schemathesis's tests of one function ids of their own: xdist runs one test an id."""
    seen = Counter(item.nodeid for item in items)
    for item in items:
        if seen[item.nodeid] > 1:
            item._id = item._id.with_params(item.name.partition("[")[2].removesuffix("]"))
    twice = [name for name, count in Counter(item.nodeid for item in items).items() if count > 1]
    if twice:
        raise pytest.UsageError(f"tests that share an id, of which xdist would run one: {twice}")


def name_groups(items: list[pytest.Item]) -> None:
    """Ends the ids of tests of an `xdist_group` in @GROUP, by which the scheduler knows them.

    xdist 3.8 does so in an attribute that pytest 9.2 has no more.
    """
    for item in items:
        if group := item.get_closest_marker("xdist_group"):
            item._id = item._id.parse(f"{item.nodeid}@{group.args[0]}")


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
