"""Distribution of the tests over pytest-xdist workers: whole files, the longest first.

A file stays on one worker, so that its module fixtures (servers, bundles) are made once. A test
marked `xdist_group` goes with its group instead: several files that share a session fixture, or
a single long test that shares nothing.
"""

import os
from collections import Counter

import pytest

COSTLY = ("slow", "service")
"""Marks of tests that take seconds."""

WORKER_BYTES = 4 << 30
"""Memory of a worker and of the servers that its tests start."""


def sort_by_cost(items: list[pytest.Item]) -> None:
    """Puts the files with most slow tests and services first, so that none ends alone."""
    costs = Counter(item.path for item in items for mark in COSTLY if item.get_closest_marker(mark))
    items.sort(key=lambda item: -costs[item.path])


def make_ids_unique(items: list[pytest.Item]) -> None:
    """Gives schemathesis's tests of one function ids of their own: xdist runs one test an id."""
    seen = Counter(item.nodeid for item in items)
    for item in items:
        if seen[item.nodeid] > 1:
            item._id = item._id.with_params(item.name.partition("[")[2].removesuffix("]"))
    twice = [name for name, count in Counter(item.nodeid for item in items).items() if count > 1]
    if twice:
        raise pytest.UsageError(f"tests that share an id, of which xdist would run one: {twice}")


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
