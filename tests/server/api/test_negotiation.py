import pytest

from tests.server.conftest import assert_problem
from tests.server.support.fakes import clip

SAFETENSORS = "application/x-safetensors"
VIDEO = {"content-type": "video/mp4"}


@pytest.mark.slow
@pytest.mark.parametrize("accept", ["*/*", "application/*;q=0.1", SAFETENSORS, "text/html, */*"])
def test_the_answer_is_of_a_type_that_is_accepted(served, accept):
    headers = {**VIDEO, "accept": accept}
    response = served.http.post("/v1/features", content=clip(), headers=headers)
    assert response.status_code == 200


@pytest.mark.parametrize(
    "accept", ["application/json", "text/*", "", f"{SAFETENSORS};q=0", "*/*;q=x"]
)
def test_another_type_is_not_to_be_had(served, accept):
    headers = {**VIDEO, "accept": accept}
    response = served.http.post("/v1/features", content=clip(), headers=headers)
    assert_problem(response, 406, "not-acceptable")


def test_a_compressed_body_is_refused(served):
    headers = {**VIDEO, "content-encoding": "gzip"}
    response = served.http.post("/v1/predictions", content=clip(), headers=headers)
    assert_problem(response, 415, "unsupported-media")
