import pytest
from pydantic import ValidationError
from pydantic_settings import CliApp

from server.settings.checks import is_loopback
from server.settings.settings import Settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOST", "PORT", "API_KEY", "INSECURE_NO_AUTH"):
        monkeypatch.delenv(f"EGOPACK_{name}", raising=False)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_needs_no_key(host):
    assert is_loopback(host)
    assert Settings(host=host).api_key is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "example.org", ""])
def test_other_addresses_need_a_key_or_an_explicit_word(host):
    with pytest.raises(ValidationError, match="EGOPACK_API_KEY"):
        Settings(host=host)
    assert Settings(host=host, api_key="k" * 16).host == host
    for short in ("k", "k" * 15):
        with pytest.raises(ValidationError, match="at least 16"):
            Settings(host=host, api_key=short)
    assert Settings(host=host, insecure_no_auth=True).host == host


def test_an_empty_key_is_not_a_key():
    with pytest.raises(ValidationError, match="empty"):
        Settings(host="0.0.0.0", api_key="")


def test_settings_come_from_the_environment_and_flags_win(monkeypatch):
    monkeypatch.setenv("EGOPACK_PORT", "9001")
    monkeypatch.setenv("EGOPACK_API_KEY", "sesame")
    assert Settings().port == 9001
    settings = CliApp.run(Settings, cli_args=["--port", "9002", "--max-upload-mb", "2"])
    assert (settings.port, settings.max_upload_bytes) == (9002, 2 * 2**20)
    assert settings.api_key.get_secret_value() == "sesame"


def test_the_key_is_not_shown_with_the_settings():
    assert "sesame" not in repr(Settings(api_key="sesame"))


def test_every_setting_has_a_flag_with_a_description(capsys):
    with pytest.raises(SystemExit) as stop:
        CliApp.run(Settings, cli_args=["--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    for name, field in Settings.model_fields.items():
        assert f"--{name.replace('_', '-')}" in shown
        assert field.description


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"allowed_hosts": "https://a.example"}, "without scheme"),
        ({"allowed_hosts": "a.example:80"}, "without scheme"),
        ({"allowed_hosts": "a.*.example"}, "without scheme"),
        ({"trusted_proxies": "proxy.example"}, "addresses or networks"),
        ({"trusted_proxies": "10.0.0.1/8"}, "addresses or networks"),
        ({"key_guess_limit": "often"}, "60/minute"),
    ],
)
def test_names_of_hosts_and_proxies_are_checked_at_the_start(values, word):
    with pytest.raises(ValidationError, match=word):
        Settings(**values)


def test_names_of_hosts_and_proxies_are_lists_with_commas():
    settings = Settings(
        allowed_hosts="A.example, *.b.example,::1", trusted_proxies="::1,10.0.0.0/8"
    )
    assert settings.allowed_names == ["a.example", "*.b.example", "::1"]
    assert settings.proxies == ["::1", "10.0.0.0/8"]
    assert (Settings().allowed_names, Settings().proxies) == ([], [])


@pytest.mark.parametrize(
    ("values", "teaches"),
    [
        ({}, True),
        ({"host": "::1"}, True),
        ({"host": "0.0.0.0", "api_key": "k" * 16}, False),
        ({"host": "0.0.0.0", "api_key": "k" * 16, "teaching": "on"}, True),
        ({"teaching": "off"}, False),
        ({"ray": True}, False),
    ],
)
def test_by_default_only_this_machine_may_teach(values, teaches):
    assert Settings(**values).teaches == teaches


def test_on_ray_nothing_is_taught():
    with pytest.raises(ValidationError, match="without --ray"):
        Settings(ray=True, teaching="on")
