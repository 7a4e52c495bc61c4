import inspect
import re
from typing import Any

from clients import errors
from server import problem_types as kinds
from server.problem_types import ProblemType


def test_every_error_is_a_client_error_and_drawn_in_the_tree():
    found = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if cls is not Any]
    drawn = re.findall(r"[├└]── (\w+)|^(\w+)$", errors.__doc__, re.MULTILINE)
    mapped = {cls.__name__ for cls in found if cls.__module__ == errors.__name__}
    assert mapped == {one or root for one, root in drawn}
    assert all(issubclass(getattr(errors, name), errors.ClientError) for name in mapped)


def test_every_slug_we_tell_apart_is_one_that_the_server_sends_with_a_fitting_status():
    known = {one.slug: one for one in vars(kinds).values() if isinstance(one, ProblemType)}
    for code, cls in errors.BY_CODE.items():
        assert issubclass(cls, errors._by_status(known[code].status)), code


def test_whatever_the_server_may_answer_becomes_the_right_kind_of_error():
    for kind in (one for one in vars(kinds).values() if isinstance(one, ProblemType)):
        problem = {"code": kind.slug, "detail": "why", "request_id": "r", "limits": {"x": 1}}
        error = errors.error_of(kind.status, problem, 3.0)
        if kind.is_retryable and kind.status in (429, 503):
            assert isinstance(error, errors.Busy)
        else:
            fault = errors.Rejected if kind.status < 500 else errors.ServerFault
            assert isinstance(error, fault), kind.slug
        assert (error.code, str(error), error.request_id) == (kind.slug, "why", "r")
        assert (error.limits, error.retry_after_s) == ({"x": 1}, 3.0)


def test_an_error_carries_what_to_quote():
    error = errors.Rejected("why", status=422, code="x", request_id="r", errors=(("/a", "b"),))
    assert (str(error), error.status, error.code, error.request_id) == ("why", 422, "x", "r")
    assert error.errors == (("/a", "b"),)
