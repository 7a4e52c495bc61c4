import pytest

from tests.extract.encoders.library import models


@pytest.fixture(scope="session")
def video(tmp_path_factory):
    return models.write_video(tmp_path_factory.mktemp("video") / "clip.mp4")


@pytest.fixture(scope="session")
def vjepa2(tmp_path_factory):
    folder = models.save_vjepa2(tmp_path_factory.mktemp("models") / "vjepa2")
    return models.card(folder, "mit")


@pytest.fixture(scope="session")
def siglip2(tmp_path_factory):
    folder = models.save_siglip2(tmp_path_factory.mktemp("models") / "siglip2")
    return models.card(folder, "apache-2.0")
