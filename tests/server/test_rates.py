import pytest
from pydantic import ValidationError

from server.errors import RateLimited
from server.rates import Rates, rate_limit_key
from server.settings.settings import Settings
from tests.server.conftest import assert_problem


def test_a_caller_gets_its_share_and_then_is_told_when_there_is_more():
    rates = Rates("3/hour")
    for _ in range(3):
        rates.check("a")
    with pytest.raises(RateLimited) as caught:
        rates.check("a")
    assert 1 <= caught.value.retry_after_s <= 3600
    rates.check("b")


def test_without_a_limit_nobody_is_counted():
    rates = Rates(None)
    for _ in range(1000):
        rates.check("a")


@pytest.mark.parametrize("text", ["", "often", "3", "3/fortnight", "-1/minute"])
def test_what_is_no_rate_is_refused_with_an_example(text):
    with pytest.raises(ValidationError, match="60/minute"):
        Settings(rate_limit=text)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("", "testclient", True),
    ],
)
def test_a_network_that_is_handed_out_whole_counts_as_one_caller(one, other, is_same):
    assert (rate_limit_key(one) == rate_limit_key(other)) == is_same


def test_keys_are_limited_apart_probes_not_at_all_and_guesses_too(serve):
    served = serve(api_keys={"a": "key-a", "b": "key-b"}, rate_limit="2/hour")

    def get(key, path="/v1/limits"):
        return served.http.get(path, headers={"x-api-key": key})

    assert [get("key-a").status_code for _ in range(2)] == [200, 200]
    refused = get("key-a")
    problem = assert_problem(refused, 429, "rate-limited")
    assert problem["retryable"]
    assert get("key-b").status_code == 200
    assert [get(f"guess-{n}").status_code for n in range(3)] == [401, 401, 429]
    assert {get("", "/livez").status_code for _ in range(9)} == {200}
