"""A full or protected disk is said in the response, whatever the library raised."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace

import pytest

from service.readers import disk
from service.readers.disk import DiskFullError, check_space, disk_problem


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A disk with as much free space as its attribute says."""
    state = SimpleNamespace(free=10**12)
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda _: state)
    return state


def test_space_is_checked_before_the_work(tmp_path: Path, free: SimpleNamespace) -> None:
    check_space(tmp_path, 10**9)
    free.free = 2 * 10**8
    with pytest.raises(DiskFullError, match=r"200\.0 MB") as found:
        check_space(tmp_path, 10**9)
    assert found.value.status == 507
    assert found.value.headers["Retry-After"]


@pytest.mark.parametrize(
    ("error", "bytes_free", "status"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/secret/a.nc"), 10**9, 507),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), 10**9, 507),
        (RuntimeError("NetCDF: HDF error"), 4096, 507),
        (PermissionError(errno.EACCES, "Permission denied", "/secret/a.nc"), 4096, 507),
        (PermissionError(errno.EACCES, "Permission denied", "/secret/a.nc"), 10**9, 503),
        (OSError(errno.EROFS, "Read-only file system", "/secret/a.nc"), 10**9, 503),
        (RuntimeError("NetCDF: HDF error"), 10**9, None),
        (FileNotFoundError(errno.ENOENT, "No such file", "/secret/a.nc"), 10**9, None),
    ],
)
def test_problems_of_the_disk(
    tmp_path: Path, free: SimpleNamespace, error: Exception, bytes_free: int, status: int | None
) -> None:
    free.free = bytes_free
    problem = disk_problem(error, tmp_path)
    assert (problem and problem.status) == status
    assert "secret" not in str(problem)
