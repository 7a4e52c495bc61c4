import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from server.api.access import Keys, RateLimiter, rate_limit_key
from server.errors import RateLimited
from server.settings.checks import read_keys
from server.settings.settings import Settings
from tests.server.conftest import assert_problem

KEY = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=30)


@given(keys=st.dictionaries(st.sampled_from("abcdef"), KEY, min_size=1), other=KEY)
def test_a_caller_is_known_by_a_key_and_by_nothing_else(keys, other):
    assume(len(set(keys.values())) == len(keys))
    known = Keys(lambda: keys)
    for name, key in keys.items():
        assert known.caller(Headers({"authorization": f"Bearer {key}"})) == name
        assert known.caller(Headers({"x-api-key": key})) == name
    if other not in keys.values():
        assert known.caller(Headers({"x-api-key": other})) is None
    assert known.caller(Headers({})) is None


def test_keys_are_not_kept_as_they_are():
    keys = Keys(lambda: {"robot": "sesame"})
    assert "sesame" not in repr(vars(keys))


def test_keys_that_are_read_again_replace_those_before_unless_they_are_wrong(tmp_path, caplog):
    path = tmp_path / "keys"
    path.write_text("left k-left")
    keys = Keys(lambda: read_keys(path))

    def who(key):
        return keys.caller(Headers({"x-api-key": key}))

    path.write_text("left k-new\nright k-right")
    assert (who("k-left"), who("k-new")) == ("left", None)
    keys.read_again()
    assert (who("k-left"), who("k-new"), who("k-right")) == (None, "left", "right")
    for wrong in ("", "left", "left k\nleft k", "left k\nright k"):
        path.write_text(wrong)
        keys.read_again()
        assert (who("k-new"), who("k-right"), who("k")) == ("left", "right", None)
    path.unlink()
    keys.read_again()
    assert who("k-new") == "left"
    assert "stay as they were" in caplog.text
    assert "k-new" not in caplog.text


def test_keys_come_from_a_file_the_variable_and_the_flag(tmp_path, monkeypatch):
    path = tmp_path / "keys"
    path.write_text("# robots\nleft  k-left\nright k-right\n\n")
    monkeypatch.setenv("EGOPACK_API_KEYS", '{"lab": "k-lab"}')
    settings = Settings(api_key="k", api_keys_file=path, host="0.0.0.0")
    expected = {"left": "k-left", "right": "k-right", "lab": "k-lab", "default": "k"}
    assert settings.keys == expected
    assert not any(key in repr(settings) for key in ("k-lab", "k-left"))


def test_the_log_names_the_key_and_never_shows_it(serve, caplog):
    served = serve(api_keys={"left-arm": "sesame-1", "right-arm": "sesame-2"})
    caplog.set_level("INFO", logger="server.api.middleware")
    caplog.clear()
    response = served.http.get("/v1/limits", headers={"x-api-key": "sesame-2"})
    assert response.status_code == 200
    refused = served.http.get("/v1/limits", headers={"x-api-key": "sesame-3"})
    assert_problem(refused, 401, "unauthenticated")
    assert [getattr(r, "key", None) for r in caplog.records] == ["right-arm", None]
    assert "sesame" not in str([vars(record) for record in caplog.records])


def test_a_caller_gets_its_share_and_then_is_told_when_there_is_more():
    limiter = RateLimiter("3/hour")
    for _ in range(3):
        limiter.check("a")
    with pytest.raises(RateLimited) as caught:
        limiter.check("a")
    assert 1 <= caught.value.retry_after_s <= 3600
    limiter.check("b")


def test_without_a_limit_no_request_is_counted():
    limiter = RateLimiter(None)
    for _ in range(1000):
        limiter.check("a")


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
