"""What Ray Serve's proxy says by itself becomes a problem; what the application says stays."""

import asyncio

import httpx
import pytest
from starlette.responses import PlainTextResponse, Response

from server.cluster.proxy import ProblemMiddleware
from server.schemas.prediction import ProblemBody


def ask(app, path="/v1/predictions"):
    async def get():
        transport = httpx.ASGITransport(ProblemMiddleware(app))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            return await http.get(path, headers={"x-request-id": "mine"})

    return asyncio.run(get())


async def nothing(scope, receive, send):
    """As when a front end dies with a request."""


async def raises(scope, receive, send):
    raise RuntimeError("The actor died: node 10.0.0.1, /tmp/ray")


@pytest.mark.parametrize(
    ("app", "status", "code"),
    [
        (PlainTextResponse("Path '/' not found", 404), 503, "no-front-end"),
        (PlainTextResponse("Internal Server Error", 500), 503, "no-front-end"),
        (PlainTextResponse("timed out", 408), 504, "deadline-exceeded"),
        (nothing, 503, "no-front-end"),
        (raises, 503, "no-front-end"),
    ],
    ids=["gone", "error", "late", "nothing", "raises"],
)
def test_plain_text_becomes_a_problem_that_says_when_to_come_back(app, status, code):
    answer = ask(app)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) >= 1
    problem = ProblemBody.model_validate_json(answer.text, strict=True)
    assert (problem.code, problem.status, problem.retryable) == (code, status, True)
    assert "10.0.0.1" not in answer.text


def test_what_the_application_says_passes_but_for_a_repeated_id():
    said = Response(b"{}", 422, {"X-Content-Type-Options": "nosniff", "X-Request-ID": "mine"})
    said.raw_headers.append((b"x-request-id", b"mine"))
    answer = ask(said)
    assert (answer.status_code, answer.content) == (422, b"{}")
    assert answer.headers.get_list("x-request-id") == ["mine"]


def test_what_balancers_ask_of_serve_stays_as_it_is():
    answer = ask(PlainTextResponse("draining", 503), "/-/healthz")
    assert (answer.status_code, answer.text) == (503, "draining")


def test_an_answer_that_breaks_off_is_not_made_to_look_whole():
    async def breaks(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("lost")

    with pytest.raises(RuntimeError, match="lost"):
        ask(breaks)
