"""The Open Inference Protocol, as bytes on the wire."""

import pytest

from server.api.oip.schemas import ModelMetadata
from tests.server.api.oip.protocol import INFER, assert_failure, infer, video
from tests.server.conftest import assert_problem


def test_server_and_model_say_what_they_are(served):
    get = served.http.get
    assert get("/v2").json()["extensions"] == ["binary_tensor_data"]
    assert get("/v2/health/live").json() == {"live": True}
    assert get("/v2/health/ready").json() == {"ready": True}
    metadata = ModelMetadata.model_validate_json(get("/v2/models/fake").text, strict=True)
    assert [(t.name, t.datatype, t.shape) for t in metadata.inputs] == [
        ("features", "FP32", [-1, 4]),
        ("video", "BYTES", [1]),
    ]
    assert get("/v2/models/fake/versions/1").json() == metadata.model_dump()
    for path in ("/v2/models/fake/ready", "/v2/models/fake/versions/1/ready"):
        assert get(path).json() == {"name": "fake", "ready": True}


@pytest.mark.parametrize(
    "path",
    ["/v2/models/other", "/v2/models/fake/versions/2/ready", "/v2/nothing", "/v2/models/fake/x"],
)
def test_what_is_not_there_is_told_in_the_protocols_words(served, path):
    assert_failure(served.http.get(path), 404)


def test_other_models_and_methods_are_refused_in_the_protocols_words(served):
    assert_failure(infer(served, video(), path="/v2/models/other/infer"), 404)
    assert_failure(infer(served, video(), path="/v2/models/fake/versions/2/infer"), 404)
    assert_failure(served.http.get(INFER), 405)


def test_readiness_follows_the_engine(served):
    served.engine.life.drain()
    for path in ("/v2/health/ready", "/v2/models/fake/ready"):
        assert_failure(served.http.get(path), 503)
        assert "retry-after" in served.http.get(path).headers
    assert_failure(infer(served, video()), 503)
    assert served.http.get("/v2/health/live").status_code == 200
    assert_problem(served.http.get("/readyz"), 503, "draining")


def test_the_key_is_asked_for_in_the_protocols_words(serve):
    served = serve(api_key="k")  # waits on /readyz, which is open
    assert_failure(served.http.get("/v2"), 401)
    assert served.http.get("/v2", headers={"authorization": "Bearer k"}).status_code == 200
