"""What every test gets: random state and threads restored, GPU tests skipped, services guarded."""

import gc
import os
import random
import signal

import numpy as np
import pytest
import torch

from tests.support.parallel import (
    make_ids_unique,
    make_scheduler,
    name_groups,
    sort_by_cost,
    worker_count,
)
from tests.support.services import watch

gc.disable()  # until all modules are imported: it would go through them again and again

# A shell that starts tests in the background has them, and what they start, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def _storage():
    from tests.support.s3 import running_storage

    with running_storage() as storage:
        yield storage


@pytest.fixture
def storage(_storage):
    """An empty S3 on the loopback; see `tests.support.s3`."""
    _storage.empty()
    yield _storage
    _storage.clear()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty model hub on the loopback, which the hub's library asks; see `tests.weights.hub`."""
    from tests.weights.hub import Hub, point_library_at

    hub = Hub()
    point_library_at(hub, monkeypatch, tmp_path / "hub")
    yield hub
    hub.close()


@pytest.fixture(autouse=True)
def _threads_restored():
    """A command sets them for its process, which the tests after it share."""
    before = torch.get_num_threads()
    yield
    if torch.get_num_threads() != before:
        torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _random_state_restored():
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    yield
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])


@pytest.fixture(autouse=True, scope="session")
def _measurements_stay_out_of_the_home(tmp_path_factory):
    before = os.environ.get("EGOPACK_CACHE")
    os.environ["EGOPACK_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["EGOPACK_CACHE"]
    else:
        os.environ["EGOPACK_CACHE"] = before


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    make_ids_unique(items)
    if hasattr(config, "workerinput"):
        sort_by_cost(items)
        name_groups(items)
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            if os.environ.get("EGOPACK_REQUIRE_GPU") == "1":
                pytest.fail("EGOPACK_REQUIRE_GPU=1, but there is no CUDA device", pytrace=False)
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    with watch(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """What a test printed reaches the first process as UTF-8: file names may hold other bytes."""
    report = yield
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers():
    return worker_count()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return make_scheduler(config, log)
