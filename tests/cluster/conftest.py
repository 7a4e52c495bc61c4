import pytest

from tests.cluster.nodes import cluster

pytest.importorskip("ray", reason="needs the extra `scale`")


@pytest.fixture(scope="session")
def nodes():
    """A head without cores and two workers of two each."""
    with cluster(workers=2) as found:
        yield found
