"""Errors of the machine are one plain sentence."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from pipelines.storage.atomic import require_space
from service.cli.app import main


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/data/a.zarr"),
            "the disk is full: no space left on device for /data/a.zarr; make room, then run it",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "/data/a"),
            "/data/a cannot be written or read: read-only file system; use another folder",
        ),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "connection refused"),
    ],
)
def test_without_numbers_and_types(
    error: OSError,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("service.cli.app.lift_variables", fail)
    with pytest.raises(SystemExit) as caught:
        main(["inspect", "a.zarr"])
    told = capsys.readouterr().err
    assert caught.value.code == 1
    assert told.startswith(f"pear: {words}")
    assert "Errno" not in told
    assert "OSError" not in told


def test_a_disk_with_too_little_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("service.cli.app.lift_variables", lambda _: require_space(tmp_path, 10**18))
    with pytest.raises(SystemExit):
        main(["inspect", "a.zarr"])
    told = capsys.readouterr().err
    assert told.startswith("pear: disk too full: ")
    assert told.endswith(f" for {tmp_path}; make room, then run it again\n")
