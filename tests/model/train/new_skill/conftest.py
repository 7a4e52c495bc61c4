import pytest

from model.predict.predictor import Predictor
from tests.support.factories import make_bundle
from tests.support.own_tasks import write_features
from weights.bundle import save_bundle


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learn")
    save_bundle(make_bundle(), folder / "bundle")
    write_features(folder / "features", Predictor.from_bundle(folder / "bundle").encoder)
    return folder
