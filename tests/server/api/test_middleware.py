import pytest

from model.errors import FeatureMismatch, SearchInvalid, SegmentInvalid, UnknownTask
from server.errors import TABLE, ServerError
from tests.server.conftest import assert_problem
from tests.server.support.fakes import clip
from tests.server.support.open_upload import OpenUpload
from tests.support.waiting import wait_for


@pytest.mark.parametrize("given", ["abc-1.2:3", "x" * 128])
def test_a_proper_request_id_is_echoed(served, given):
    response = served.http.get("/livez", headers={"x-request-id": given})
    assert response.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a\tb", "é", "<script>"])
def test_an_improper_request_id_is_replaced(served, given):
    headers = {"x-request-id": given.encode()}
    first = served.http.get("/livez", headers=headers).headers["x-request-id"]
    second = served.http.get("/livez", headers=headers).headers["x-request-id"]
    assert first != second
    assert first.isalnum()


def test_problems_carry_the_request_id_too(served):
    response = served.http.get("/nope", headers={"x-request-id": "mine"})
    assert assert_problem(response, 404, "not-found")["request_id"] == "mine"


def test_what_the_framework_refuses_is_a_problem(served):
    assert_problem(served.http.get("/v1/nothing"), 404, "not-found")
    refused = served.http.get("/v1/predictions")
    assert_problem(refused, 405, "method-not-allowed")
    assert refused.headers["allow"] == "POST"
    assert_problem(served.http.request("BREW", "/livez"), 405, "method-not-allowed")


def test_a_declared_size_over_the_limit_is_refused_before_the_body_is_read(serve):
    served = serve(max_upload_mb=1)

    def body():
        raise AssertionError("the body was read")
        yield b""

    headers = {"content-length": str(2**20 + 1), "content-type": "video/mp4"}
    refused = served.http.post("/v1/predictions", content=body(), headers=headers)
    problem = assert_problem(refused, 413, "body-too-large")
    assert problem["limits"] == {"max_upload_bytes": 2**20}


def test_with_a_key_everything_but_probes_and_docs_asks_for_it(serve):
    served = serve(api_key="sesame")
    for path in ("/v1/models", "/v1/limits", "/v1/nothing"):
        refused = served.http.get(path)
        assert_problem(refused, 401, "unauthenticated")
        assert refused.headers["www-authenticate"] == "Bearer"
    assert_problem(served.post(clip()), 401, "unauthenticated")
    for path in ("/livez", "/readyz", "/docs", "/docs/static/swagger-ui.css", "/openapi.json"):
        assert served.http.get(path).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer sesame"},
        {"authorization": "bearer sesame"},
        {"x-api-key": "sesame"},
    ],
)
def test_the_key_opens(serve, headers):
    assert serve(api_key="sesame").http.get("/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer wrong"},
        {"authorization": "Basic sesame"},
        {"authorization": "Bearer"},
        {"x-api-key": ""},
        {"x-api-key": "sésame".encode()},
    ],
)
def test_a_wrong_key_does_not_open(serve, headers):
    refused = serve(api_key="sesame").http.get("/v1/models", headers=headers)
    assert_problem(refused, 401, "unauthenticated")
    assert "sesame" not in refused.text


def test_what_nobody_foresaw_is_logged_in_full_and_answered_in_brief(served, caplog):
    refused = served.post(b"bug")
    assert_problem(refused, 500, "internal")
    assert any("secret of" in str(r.exc_info[1]) for r in caplog.records if r.exc_info)


def test_each_request_leaves_one_line(served, caplog):
    caplog.set_level("INFO", logger="server.api.middleware")
    caplog.clear()
    served.http.get("/nope")
    assert [r.getMessage() for r in caplog.records] == ["GET /nope 404"]


@pytest.mark.parametrize("path", ["/livez", "/v1/limits", "/nope", "/docs", "/openapi.json"])
def test_every_answer_has_its_security_headers(served, path):
    headers = served.http.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy
    assert ("script-src" in policy) == (path == "/docs")
    assert "server" not in headers


def test_a_full_spool_refuses_a_declared_body_before_reading_it(serve):
    served = serve(max_upload_mb=1, max_spool_mb=1)

    def body():
        raise AssertionError("the body was read")
        yield b""

    headers = {"content-length": str(2**20), "content-type": "video/mp4"}
    held = OpenUpload(served, headers={"content-type": "video/mp4"}, address="192.0.2.1")
    held.send(b"x")
    wait_for(lambda: "egopack_spool_bytes 1.0" in served.http.get("/metrics").text)
    refused = served.http.post("/v1/predictions", content=body(), headers=headers)
    assert_problem(refused, 429, "queue-full")
    undeclared = served.post(iter([b"x" * 2**19] * 2))
    assert_problem(undeclared, 429, "queue-full")
    assert "egopack_spool_bytes 1.0" in served.http.get("/metrics").text
    held.hang_up()
    assert served.spooled() == []
    assert served.post(clip()).status_code == 200


WRITTEN_FOR_CALLERS = (UnknownTask, SegmentInvalid, FeatureMismatch, SearchInvalid)
SECRETS = ("Traceback", 'File "', "/work", "/tmp", "egopack-spool", "site-packages", "signal 11")


def test_no_answer_to_any_error_shows_where_or_how_it_happened(served):
    """Every kind of problem, raised from the depths with a message full of secrets."""
    depths = "/tmp/egopack-spool-x/clip: Traceback: signal 11 in libavcodec at 0xdead, k3y"
    texts = []
    for cls in TABLE:
        error = cls.__new__(cls)
        Exception.__init__(error, depths)
        vars(error).update(code="damaged", detail="a plain sentence", index=0, errors=())
        if issubclass(cls, ServerError) and TABLE[cls].status != 500:
            continue  # our own words, written for callers
        if cls in WRITTEN_FOR_CALLERS:
            continue

        def fail(error=error):
            raise error

        served.pool.hold = fail
        texts.append((cls, served.post(clip()).text))
    assert len(texts) > 10
    for cls, text in texts:
        assert not [secret for secret in (*SECRETS, "libav", "k3y") if secret in text], (cls, text)


READABLE = ["/livez", "/readyz", "/v1/limits", "/v1/models", "/v1/taxonomy", "/v2", "/openapi.json"]


@pytest.mark.parametrize("path", READABLE)
def test_whatever_can_be_read_can_be_asked_about(served, path):
    whole, head = served.http.get(path), served.http.head(path)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "content-length"):
        assert head.headers[name] == whole.headers[name]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "GET", "PUT", "DELETE", "PATCH", "TRACE"])
@pytest.mark.parametrize("path", ["/v1/predictions", "/v1/features", "/v1/backpack/search"])
def test_other_methods_are_refused_with_the_one_that_is_taken(served, method, path):
    response = served.http.request(method, path)
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert response.headers["content-type"] == "application/problem+json"
    if method != "HEAD":
        assert_problem(response, 405, "method-not-allowed")


def test_an_unread_answer_to_head_says_what_get_would(served):
    assert served.http.head("/v1/nothing").status_code == 404
    served.engine.life.drain()
    assert served.http.head("/readyz").status_code == 503


def every_call(app):
    """(method, path) of everything the app answers, files included."""
    named = {"name": "fake", "version": "1", "job_id": "0" * 32, "clip_id": "c_0"}
    for path in ("/", "/docs", "/docs/static/swagger-ui.css", "/ui/page.js", "/ui/sample.json"):
        yield "GET", path
    for path, operations in app.openapi()["paths"].items():
        for method in operations:
            yield method.upper(), path.format(**named)


HOST = "made-up.example"


def test_a_slash_at_the_end_names_the_same_and_nothing_redirects(served):
    calls = list(every_call(served.transport.app))
    assert len(calls) > 25
    for method, path in calls:
        answers = [
            served.http.request(method, asked, headers={"host": HOST}, content=b"")
            for asked in (path, path.removesuffix("/") + "/")
        ]
        assert answers[0].status_code == answers[1].status_code, path
        assert answers[0].headers["content-type"] == answers[1].headers["content-type"]
        for answer in answers:
            assert not answer.is_redirect, path
            assert HOST not in str(answer.headers) + answer.text, path


def test_a_clip_may_be_sent_with_a_slash_at_the_end(serve):
    served = serve(api_key="sesame")
    asked = {"content": clip(), "headers": {"content-type": "video/mp4", "x-api-key": "sesame"}}
    answered = served.http.post("/v1/predictions/", **asked)
    assert answered.status_code == 200
    assert answered.json()["segments"]
    assert_problem(served.http.post("/v1/predictions/", content=clip()), 401, "unauthenticated")
    assert served.http.get("/readyz/").status_code == 200  # which asks for no key either


@pytest.mark.parametrize("path", ["/v1/predictions//", "/v2//", "/livez//", "/ui", "/ui/", "/v1/"])
def test_what_is_nowhere_is_not_found_rather_than_elsewhere(served, path):
    for method in ("GET", "POST"):
        answer = served.http.request(method, path, headers={"host": HOST})
        assert answer.status_code == 404
        assert "There is nothing here." in answer.text
