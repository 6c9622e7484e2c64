"""Settings of the service."""

from __future__ import annotations

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
