import resource
from contextlib import contextmanager

import pytest

from tests.weights.bundles import make_bundle
from tests.weights.origin import Origin
from weights.bundle import save_bundle
from weights.storage.cache import Cache


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


@pytest.fixture
def folder(tmp_path):
    save_bundle(make_bundle(), tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EGOPACK_CACHE", str(tmp_path / "cache"))
    return Cache(tmp_path / "cache")
