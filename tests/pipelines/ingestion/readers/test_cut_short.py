"""Files cut at any byte are refused with both sizes; whole ones of every variant are not."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Literal, TypeAlias

import netCDF4
import numpy as np
import pytest

from pear.errors import InputError
from pipelines.ingestion.readers.cut_short import find_grib_fault, require_whole

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


def message(n_bytes: int, edition: int = 2) -> bytes:
    head = b"GRIB" + (
        n_bytes.to_bytes(3, "big") + b"\x01"
        if edition == 1
        else b"\0\0\0\x02" + n_bytes.to_bytes(8, "big")
    )
    return head + b"\x05" * (n_bytes - len(head) - 4) + b"7777"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (message(100) + message(80, 1), ""),
        (b"\r\r\n001\r\r\nHTXA50 ECMF\r\r\n" + message(100) + b"\r\r\n\003" + message(100), ""),
        (message(100) + b"\0" * 500 + message(100), ""),
        (message(100) + message(100)[:60], "message 2 at byte 100 has 60 of 100 bytes"),
        (message(100) + message(100, 1)[:10], "in the header of message 2"),
        (message(100)[:96] + b"777X" + message(90), "message 1 at byte 0 does not end after 100"),
        (
            message(100) + b"GRIX" + message(100)[4:],
            "bytes 100 to 200 end a message without a start",
        ),
        (message(100)[30:] + message(100), "bytes 0 to 70 end a message without a start"),
    ],
)
def test_messages_end_where_they_say(data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.grib").write_bytes(data)
    fault = find_grib_fault(tmp_path / "a.grib", "a.grib")
    if not words:
        assert fault is None
    else:
        assert words in str(fault)


def test_real_files_are_whole(shared: Path) -> None:
    files = [
        path for path in (shared / "data").rglob("*") if path.suffix in (".nc", ".grib", ".grib2")
    ]
    assert len(files) > 50
    cut = []
    for path in files:
        head = path.read_bytes()[:8]
        if head[:3] == b"CDF" or head[1:4] == b"HDF":
            require_whole(path, path.name)
        elif head[:4] == b"GRIB" and find_grib_fault(path, path.name) is not None:
            cut.append(path.name)
    assert cut == []
