"""A server process with a fake model and fake long videos: `python -m ... JSON-OF-SETTINGS`."""

import json
import sys
from typing import Any
from unittest import mock

from weights.imports import without_garbage_collection

with without_garbage_collection():
    from server.api.serve import serve
    from tests.server.jobs.support.fake_stream import FakeStream
    from tests.server.support.fakes import make_engine, make_settings

if __name__ == "__main__":
    values: dict[str, Any] = json.loads(sys.argv[1])
    settings = make_settings(port=0, **values)
    with mock.patch("server.engine.long_video.VideoStream", FakeStream):
        sys.exit(1 if serve(settings, make_engine(settings)) else 0)
