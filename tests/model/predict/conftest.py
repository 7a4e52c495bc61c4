import pytest

from model.predict.predictor import Predictor
from tests.support.factories import make_bundle


@pytest.fixture(scope="session")
def predictor():
    return Predictor(make_bundle(), search="torch")
