import inspect

from clients import errors


def test_every_error_is_a_client_error_and_drawn_in_the_tree():
    found = [cls for _, cls in inspect.getmembers(errors, inspect.isclass)]
    assert {cls.__name__ for cls in found} == {
        "ClientError",
        "Rejected",
        "Busy",
        "ServerFault",
        "Unreachable",
    }
    for cls in found:
        assert issubclass(cls, errors.ClientError)
        assert cls.__name__ in errors.__doc__


def test_an_error_carries_what_to_quote():
    error = errors.Rejected("why", status=422, code="x", request_id="r", errors=(("/a", "b"),))
    assert (str(error), error.status, error.code, error.request_id) == ("why", 422, "x", "r")
    assert error.errors == (("/a", "b"),)
