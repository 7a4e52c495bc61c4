import json
from typing import Any

import pytest

from server.schemas.examples import PREDICTION


@pytest.fixture
def answer() -> dict[str, Any]:
    """A whole answer, as parsed JSON, to change at will."""
    return json.loads(json.dumps(PREDICTION))
