import pytest

from tests.cluster.nodes import cluster


@pytest.fixture(scope="session")
def nodes():
    """A head without cores and two workers of two each."""
    pytest.importorskip("ray", reason="needs the extra `scale`")
    with cluster(workers=2) as found:
        yield found
