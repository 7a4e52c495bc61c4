import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.datastructures import Headers

from server.api.access import Keys, read_keys
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


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "name\n", "name key more\n", "a k1\na k2\n", "../x key\n"]
)
def test_a_file_that_is_not_of_keys_is_refused_by_line_and_without_its_content(tmp_path, text):
    path = tmp_path / "keys"
    path.write_text(text)
    with pytest.raises(ValidationError) as caught:
        Settings(api_keys_file=path)
    assert not any(secret in caught.value.errors()[0]["msg"] for secret in ("k1", "k2", "more"))


def test_no_file_two_equal_keys_and_an_empty_one_are_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot read"):
        read_keys(tmp_path / "none")
    with pytest.raises(ValidationError, match="the same"):
        Settings(api_keys={"a": "k", "b": "k"})
    with pytest.raises(ValidationError, match="empty"):
        Settings(api_keys={"a": ""})


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
