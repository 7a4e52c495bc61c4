import pytest
from pydantic import ValidationError

from server.settings.checks import check_secret, read_keys
from server.settings.settings import Settings


@pytest.mark.parametrize("text", ["", "often", "3", "3/fortnight", "-1/minute"])
def test_what_is_no_rate_is_refused_with_an_example(text):
    with pytest.raises(ValidationError, match="60/minute"):
        Settings(rate_limit=text)


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


@pytest.mark.parametrize("secret", ["", "whsec_", "secret", "whsec_c2hvcnQ=", "whsec_!!!!"])
def test_a_secret_that_cannot_sign_is_refused(secret):
    with pytest.raises(ValueError, match="webhook_secret"):
        check_secret(secret)


def test_a_good_secret_is_taken():
    check_secret("whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0")
