import pytest

from model.data.samples import Tracks
from tests.support.factories import make_track


@pytest.fixture(scope="module")
def tracks():
    return Tracks.join([make_track(6000, seed=s, video_id=f"v{s}") for s in range(2)])
