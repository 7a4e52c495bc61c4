import pytest

from tests.clients.label_studio.studio import CONFIG, ask, backend, kept


def test_each_task_gets_a_prediction_that_its_interface_can_show(answer):
    with backend(answer, kept) as http:
        body = ask(http, "/data/upload/1.mp4", "http://studio:8080/data/upload/1.mp4").json()
    one, other = body["results"]
    assert one == other
    assert one["model_version"].startswith("tabletop 1")
    labels = [region["value"]["timelinelabels"][0] for region in one["result"]]
    assert labels == ["cut carrot", "point of no return"]  # `state change` is not offered
    assert {(r["from_name"], r["to_name"]) for r in one["result"]} == {("what", "film")}
    assert 0 < one["score"] <= 1


def test_a_task_that_cannot_be_answered_does_not_take_the_others_with_it(answer):
    with backend(answer, kept) as http:
        response = ask(
            http,
            "/data/upload/1.mp4",
            "/data/upload/2.mp4",
            "/none.mp4",
            "http://169.254.169.254/latest/meta-data",
            "//elsewhere/x.mp4",
            "file:///etc/passwd",
        )
    assert response.status_code == 200
    counts = [len(one["result"]) for one in response.json()["results"]]
    assert counts == [2, 0, 0, 0, 0, 0]


def test_the_other_questions_are_answered(answer):
    with backend(answer, kept) as http:
        assert http.get("/health").json()["status"] == "UP"
        assert http.get("/").status_code == 200
        assert http.get("/versions").json() == {"versions": ["m 1 aaaaaaaaaaaa"]}
        assert http.post("/setup", json={"schema": CONFIG}).json() == {
            "model_version": "m 1 aaaaaaaaaaaa"
        }
        assert http.post("/webhook", json={"action": "ANNOTATION_CREATED"}).status_code == 201
        assert http.post("/elsewhere", json={}).status_code == 404


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"tasks": 3}'])
def test_a_body_that_is_no_question_is_refused(answer, body):
    with backend(answer, kept) as http:
        assert http.post("/predict", content=body).status_code == 400
        assert http.post("/predict", content=iter([body])).status_code == 413  # of unknown length
