"""Building the compiled functions, and life without a compiler."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from pear.equivariant.kernels import build


def test_without_a_compiler_it_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(build, "_log", logging.getLogger("test"))
    monkeypatch.setattr(build.sys, "platform", "linux")
    monkeypatch.setenv("PEAR_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert build.library.__wrapped__() is None
    assert "no C++ compiler" in caplog.text


def test_a_compiler_that_fails_is_reported(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    broken = tmp_path / "c++"
    broken.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && exit 0\necho unknown target >&2; exit 1\n'
    )
    broken.chmod(0o755)
    monkeypatch.setattr(build, "_log", logging.getLogger("test"))
    monkeypatch.setattr(build.sys, "platform", "linux")
    monkeypatch.setenv("PEAR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CXX", str(broken))
    assert build.library.__wrapped__() is None
    assert "unknown target" in caplog.text
    assert not list((tmp_path / "cache").iterdir())


def test_it_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PEAR_NATIVE_KERNELS", "0")
    assert build.library.__wrapped__() is None


def test_nothing_is_loaded_from_a_folder_others_may_write_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    monkeypatch.setenv("PEAR_CACHE", str(folder))
    with pytest.raises(OSError, match="writable by others"):
        build._cache()
