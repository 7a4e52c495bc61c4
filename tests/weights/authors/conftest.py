import pytest

from tests.support.checkpoints import write_labels


@pytest.fixture
def labels(tmp_path):
    return write_labels(tmp_path)
