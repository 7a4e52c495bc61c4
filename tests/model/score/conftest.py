import pytest

from tests.model.support.challenge import make_challenge, score


@pytest.fixture(scope="session")
def root(tmp_path_factory):
    return make_challenge(tmp_path_factory.mktemp("challenge"))


@pytest.fixture(scope="session")
def out(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    assert score(root, folder) == 0
    return folder
