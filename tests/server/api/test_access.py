import base64

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from server.api.access import KEY_SUBPROTOCOL, Keys, RateLimiter, rate_limit_key, with_key
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
    left, right, lab, one = (f"k-{name}-0123456789abc" for name in ("left", "right", "lab", "one"))
    path.write_text(f"# robots\nleft  {left}\nright {right}\n\n")
    monkeypatch.setenv("EGOPACK_API_KEYS", f'{{"lab": "{lab}"}}')
    settings = Settings(api_key=one, api_keys_file=path, host="0.0.0.0")
    expected = {"left": left, "right": right, "lab": lab, "default": one}
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


def guesses(served, count, **headers):
    found = []
    for n in range(count):
        asked = {"x-api-key": f"guess-{n}", **headers}
        found.append(served.http.get("/v1/limits", headers=asked).status_code)
    return found


def test_guesses_of_keys_are_limited_by_default_and_a_right_one_is_not_told(serve):
    served = serve(api_key="sesame")
    assert guesses(served, 32) == [401] * 30 + [429] * 2
    asked = {"x-api-key": "sesame"}
    refused = served.http.get("/v1/limits", headers=asked)
    assert_problem(refused, 429, "rate-limited")
    assert served.http.get("/livez").status_code == 200
    assert served.http.get("/v1/limits").status_code == 401  # no key is no guess


def test_who_was_let_in_before_is_not_locked_out_by_guesses_of_others(serve):
    served = serve(api_key="sesame", key_guess_limit="2/hour")
    asked = {"headers": {"x-api-key": "sesame"}}
    assert served.http.get("/v1/limits", **asked).status_code == 200
    assert guesses(served, 3) == [401, 401, 429]
    assert served.http.get("/v1/limits", **asked).status_code == 200


def test_a_forged_forwarded_address_does_not_evade_the_limit(serve):
    served = serve(api_key="sesame", key_guess_limit="2/hour")
    found = [guesses(served, 1, **{"x-forwarded-for": f"10.0.0.{n}"})[0] for n in range(4)]
    assert found == [401, 401, 429, 429]


def test_a_trusted_proxy_tells_callers_apart_by_the_address_that_it_added(serve):
    served = serve(api_key="sesame", key_guess_limit="1/hour", trusted_proxies="127.0.0.0/8")
    for last in ("10.0.0.1", "10.0.0.2"):
        found = [
            guesses(served, 1, **{"x-forwarded-for": f"{forged}, {last}"})[0]
            for forged in ("1.1.1.1", "2.2.2.2")
        ]
        assert found == [401, 429]


def test_the_limit_can_be_turned_off(serve):
    assert set(guesses(serve(api_key="sesame", key_guess_limit=""), 40)) == {401}


def test_keys_that_are_read_again_beyond_loopback_are_as_long_as_at_the_start(tmp_path, caplog):
    path = tmp_path / "keys"
    path.write_text("robot " + "k" * 16)
    settings = Settings(host="0.0.0.0", api_keys_file=path)
    keys = Keys(lambda: settings.keys, settings.check_keys)
    path.write_text("robot k")
    keys.read_again()
    assert keys.caller(Headers({"x-api-key": "k"})) is None
    assert "at least 16" in caplog.text


@pytest.mark.parametrize("key", ["sesame", "a", "ab", "ab?", "schlüssel", "a/b+c=="])
def test_a_page_sends_its_key_as_a_subprotocol(key):
    text = base64.urlsafe_b64encode(key.encode()).decode().rstrip("=")
    offered = f"egopack.live.v1, {KEY_SUBPROTOCOL}{text}"
    headers = with_key(Headers({"sec-websocket-protocol": offered}))
    assert Keys(lambda: {"ann": key}).caller(headers) == "ann"


def test_a_bearer_counts_before_a_subprotocol_and_what_is_no_key_is_none():
    both = {"sec-websocket-protocol": f"{KEY_SUBPROTOCOL}YQ", "authorization": "Bearer b"}
    assert with_key(Headers(both))["authorization"] == "Bearer b"
    for text in ("", "x", "egopack.live.v1", f"{KEY_SUBPROTOCOL}a", f"{KEY_SUBPROTOCOL}%%%%%"):
        headers = with_key(Headers({"sec-websocket-protocol": text}))
        assert headers.get("authorization", "Bearer ") == "Bearer "
