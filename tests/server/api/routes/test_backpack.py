import pytest

from tests.server.conftest import assert_problem
from tests.server.support.fakes import clip

PATH = "/v1/backpack/search"


def search(served, body, *, kind="video/mp4", **query):
    return served.http.post(PATH, content=body, params=query, headers={"content-type": kind})


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"verb": "take"}, 422, "invalid-field"),
        ({"verb": "take", "noun": "moon"}, 422, "invalid-field"),
        ({"verb": "take", "noun": "cup", "colour": 1}, 422, "invalid-field"),
        ({"verb": "take", "noun": "cup", "timeout_s": 3600}, 422, "invalid-field"),
        ({"verb": "take", "noun": "x" * 100_000}, 413, "body-too-large"),
        ([], 422, "invalid-field"),
    ],
)
def test_a_wrong_action_is_refused(served, body, status, code):
    assert_problem(served.http.post(PATH, json=body), status, code)


def test_choices_in_both_places_are_refused(served):
    response = served.http.post(PATH, json={"verb": "take", "noun": "cup"}, params={"top_k": 2})
    assert_problem(response, 422, "invalid-field")


def test_json_that_is_none_is_refused(served):
    assert_problem(search(served, b"{", kind="application/json"), 400, "malformed-request")


def test_a_clip_that_cannot_be_seen_is_refused(served):
    assert_problem(search(served, b"reject damaged"), 422, "undecodable-video")
    assert_problem(search(served, clip(), segments=["0,99"]), 422, "invalid-field")
    assert_problem(search(served, clip(), tasks="ar"), 422, "invalid-field")
