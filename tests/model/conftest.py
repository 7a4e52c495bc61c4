import pytest

from tests.model.support.samples import make_split
from tests.model.support.unlabelled import NUM


@pytest.fixture(scope="session")
def split():
    """Task -> samples with every label."""
    return {task: s for task, s in make_split(NUM).items() if task != "lta"}
