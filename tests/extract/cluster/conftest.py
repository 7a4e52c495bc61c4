import pytest

from tests.cluster.nodes import cluster


@pytest.fixture(scope="package")  # Ray's processes keep a core busy as long as they live
def nodes():
    """A head without cores and two workers of two each."""
    pytest.importorskip("ray", reason="needs the extra `scale`")
    with cluster(workers=2) as found:
        yield found
