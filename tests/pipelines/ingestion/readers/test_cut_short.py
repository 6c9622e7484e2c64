"""Files cut at any byte are refused with both sizes; whole ones of every variant are not."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Literal, TypeAlias

import netCDF4
import numpy as np
import pytest

from pear.errors import InputError
from pipelines.ingestion.readers.cut_short import require_whole

Form: TypeAlias = Literal[
    "NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA", "NETCDF4"
]
FORMS: tuple[Form, ...] = (
    "NETCDF3_CLASSIC",
    "NETCDF3_64BIT_OFFSET",
    "NETCDF3_64BIT_DATA",
    "NETCDF4",
)


def netcdf(
    path: Path, form: Form, *, unlimited: bool, kind: str = "i2", fields: int = 2, times: int = 3
) -> Path:
    with netCDF4.Dataset(path, "w", format=form) as file:
        file.title = "odd"
        file.createDimension("time", None if unlimited else times)
        file.createDimension("x", 5)
        file.createVariable("time", "i4", ("time",)).units = "hours since 2001-01-01"
        for number in range(fields):
            variable = file.createVariable(f"v{number}", kind, ("time", "x"))
            variable.scale_factor = 0.5
            variable[:] = np.arange(times * 5).reshape(times, 5)
        file["time"][:] = np.arange(times)
    return path


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("unlimited", [True, False])
@pytest.mark.parametrize("kind", ["i2", "f4", "i1"])
def test_whole_files_are_whole_and_cut_ones_are_not(
    form: Form, unlimited: bool, kind: str, tmp_path: Path
) -> None:
    path = netcdf(tmp_path / "a.nc", form, unlimited=unlimited, kind=kind)
    require_whole(path, "a.nc")
    data = path.read_bytes()
    sizes = random.Random(0).sample(range(16, len(data) - 4), 40)
    for size in [*sizes, len(data) - 5]:
        path.write_bytes(data[:size])
        with pytest.raises(InputError, match="cut short") as caught:
            require_whole(path, "a.nc")
        assert f"{size} of " in str(caught.value) or f"within {size} bytes" in str(caught.value)


@pytest.mark.parametrize("form", FORMS[:3])
def test_records_of_one_variable_are_not_padded(form: Form, tmp_path: Path) -> None:
    with netCDF4.Dataset(tmp_path / "a.nc", "w", format=form) as file:
        file.createDimension("time", None)
        file.createDimension("x", 5)
        file.createVariable("v", "i1", ("time", "x"))[:] = np.ones((9, 5))
    require_whole(tmp_path / "a.nc", "a.nc")
    data = (tmp_path / "a.nc").read_bytes()
    (tmp_path / "a.nc").write_bytes(data[:-4])
    with pytest.raises(InputError, match=f"{len(data) - 4} of "):
        require_whole(tmp_path / "a.nc", "a.nc")


@pytest.mark.parametrize("form", FORMS)
def test_files_without_records_or_variables(form: Form, tmp_path: Path) -> None:
    require_whole(netcdf(tmp_path / "a.nc", form, unlimited=True, times=0), "a.nc")
    netCDF4.Dataset(tmp_path / "b.nc", "w", format=form).close()
    require_whole(tmp_path / "b.nc", "b.nc")


@pytest.mark.parametrize("form", FORMS[:3])
def test_an_open_number_of_records(form: Form, tmp_path: Path) -> None:
    path = netcdf(tmp_path / "a.nc", form, unlimited=True)
    data = path.read_bytes()
    width = 8 if form == "NETCDF3_64BIT_DATA" else 4
    path.write_bytes(data[:4] + b"\xff" * width + data[4 + width :])
    with pytest.raises(InputError, match="does not say how many records"):
        require_whole(path, "a.nc")


def test_records_without_bytes(tmp_path: Path) -> None:
    path = netcdf(tmp_path / "a.nc", "NETCDF3_CLASSIC", unlimited=True, times=1)
    name, axis = b"\0\0\0\1x\0\0\0", (5).to_bytes(4, "big")
    data = path.read_bytes().replace(name + axis, name + bytes(4))
    # Of the variables, (time) alone has bytes left: 2e9 records do not fit.
    path.write_bytes(data[:4] + b"\x7f\xff\xff\xff" + data[8:])
    with pytest.raises(InputError, match="cut short"):
        require_whole(path, "a.nc")


@pytest.mark.parametrize("count", [2000, 2**31])
def test_a_variable_of_too_many_axes(count: int, tmp_path: Path) -> None:
    path = netcdf(tmp_path / "a.nc", "NETCDF3_CLASSIC", unlimited=False)
    name = b"\0\0\0\2v0\0\0"
    data = path.read_bytes().replace(name + b"\0\0\0\2", name + count.to_bytes(4, "big"))
    path.write_bytes(data + bytes(4 * 3000))
    with pytest.raises(InputError, match="its header does not end"):
        require_whole(path, "a.nc")


@pytest.mark.parametrize("form", FORMS[:3])
@pytest.mark.parametrize("unlimited", [True, False])
def test_inserted_bytes_are_noticed(form: Form, unlimited: bool, tmp_path: Path) -> None:
    path = netcdf(tmp_path / "a.nc", form, unlimited=unlimited, kind="i4")
    data = path.read_bytes()
    path.write_bytes(data + bytes(500))  # padding
    require_whole(path, "a.nc")
    for at in range(len(data) - 60, len(data)):
        path.write_bytes(data[:at] + b"\r" + data[at:])
        with pytest.raises(InputError, match="goes on after its last value"):
            require_whole(path, "a.nc")


@pytest.mark.parametrize("shift", [-8, -4, 4])
def test_variables_that_overlap_are_damage(shift: int, tmp_path: Path) -> None:
    path = netcdf(tmp_path / "a.nc", "NETCDF3_CLASSIC", unlimited=False, kind="i4")
    data = path.read_bytes()
    first = (np.arange(15) / 0.5).astype(">i4").tobytes()
    begin = data.index(first).to_bytes(4, "big")  # of v0, which v1 follows
    moved = (int.from_bytes(begin, "big") + shift).to_bytes(4, "big")
    path.write_bytes(data.replace(begin, moved, 1))
    with pytest.raises(InputError, match="before the end of what precedes it"):
        require_whole(path, "a.nc")


def test_real_files_are_whole(shared: Path) -> None:
    files = [path for path in (shared / "data").rglob("*") if path.suffix == ".nc"]
    assert len(files) > 10
    for path in files:
        if path.read_bytes()[:8].startswith((b"CDF", b"\x89HDF")):
            require_whole(path, path.name)
