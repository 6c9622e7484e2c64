"""Settings of the service."""

from __future__ import annotations

from pathlib import Path

import pytest

from pear.errors import InputError
from service.settings import Settings


def test_keys_are_required_unless_on_loopback() -> None:
    def settings(host: str) -> Settings:
        return Settings(data=".", host=host)

    assert settings("0.0.0.0").keys_required  # noqa: S104
    assert settings("::").keys_required
    assert settings("pear.example.org").keys_required
    assert not settings("127.0.0.1").keys_required
    assert not settings("::1").keys_required
    assert not settings("localhost").keys_required
    assert settings("10.0.0.1").tokens_per_minute == 1200


def test_settings_come_from_options_then_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEAR_PORT", "8123")
    monkeypatch.setenv("PEAR_MAX_CONCURRENT_REQUESTS", "9")
    monkeypatch.setenv("PEAR_WORKERS", "2")
    settings = Settings.read(tmp_path, workers=3, port=None)
    assert (settings.data, settings.workers, settings.port) == (tmp_path, 3, 8123)
    assert settings.max_concurrent_requests == 9


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("PEAR_PORT", "x", "PEAR_PORT"),
        ("PEAR_WORKERS", "0", "must be 1 or more, not 0"),
        ("PEAR_MAX_AT_ONCE", "9", "set PEAR_MAX_CONCURRENT_REQUESTS instead"),
    ],
)
def test_invalid_settings_name_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(InputError, match=words) as caught:
        Settings.read(tmp_path)
    assert variable in str(caught.value)


def test_a_data_folder_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PEAR_DATA", raising=False)
    with pytest.raises(InputError, match="no data folder") as caught:
        Settings.read(None)
    assert caught.value.hint == "use --data DIR or PEAR_DATA"


def test_on_loopback_only_its_own_names_are_allowed() -> None:
    assert "localhost" in Settings(data=".").hosts
    assert Settings(data=".", host="10.0.0.1").hosts == frozenset()
    named = Settings(data=".", host="10.0.0.1", allowed_hosts=("pear.example",))
    assert named.hosts == {"pear.example"}


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("10.0.0.0/8, 192.0.2.7", ("10.0.0.0/8", "192.0.2.7")),
        ('["10.0.0.0/8", "::1"]', ("10.0.0.0/8", "::1")),
        ("", ()),
    ],
)
def test_lists_are_written_with_commas_or_as_json(
    monkeypatch: pytest.MonkeyPatch, text: str, read: tuple[str, ...]
) -> None:
    monkeypatch.setenv("PEAR_TRUSTED_PROXIES", text)
    assert Settings.read(Path("data")).trusted_proxies == read


@pytest.mark.parametrize("text", ["*", "proxy.example", "10.0.0.1/8", "[1", "256.1.1.1"])
def test_wrong_proxies_are_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("PEAR_TRUSTED_PROXIES", text)
    with pytest.raises(InputError, match="PEAR_TRUSTED_PROXIES"):
        Settings.read(Path("data"))
