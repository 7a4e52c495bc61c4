import pytest

from extract.decode.video import Limits
from extract.sandbox.pool import DecodePool


@pytest.fixture
def pool():
    with DecodePool(workers=1, limits=Limits()) as pool:
        yield pool
