import resource
from contextlib import contextmanager

import pytest

from tests.weights.origin import Origin


@pytest.fixture
def origin():
    server = Origin()
    yield server
    server.close()


@pytest.fixture
def full_disk():
    """A context in which no file grows past so many bytes."""

    @contextmanager
    def limited(size):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited
