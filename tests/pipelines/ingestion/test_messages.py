"""What an ingestion says: of files that cannot be read, of what is left out, and of what it did."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from pear.errors import InputError
from pear.store.reader import open_store
from pipelines.ingestion.ingest import ingest
from pipelines.ingestion.options import IngestOptions
from service.cli.ingest import show
from tests.fixtures.command_line import command_line
from tests.fixtures.ingestion import H6, NSIDE, T0, check_store, file_contents, temperature


def refusal(source: Any, folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        ingest([source], folder / "s.zarr", NSIDE)
    assert not (folder / "s.zarr").exists()
    return str(caught.value)


def test_a_refused_replacement_is_no_success(tmp_path: Path) -> None:
    store = tmp_path / "s.zarr"
    ingest([temperature()], store, NSIDE)
    before = file_contents(store)
    bad = temperature() + 1
    bad["t"].attrs["units"] = "K"
    bad["t"][:, 1, :3] = np.nan
    span = (T0, T0 + 4 * H6)
    options = IngestOptions(NSIDE, on_error="skip", replace=span, reserve_bytes=0)
    with pytest.raises(
        InputError, match=r"nothing is replaced: 2001-.* t.* is refused \(.*missing"
    ):
        ingest([bad], store, options=options)
    check_store(store)
    assert set(file_contents(store)) == set(before)
    bad["t"][1:] = (temperature()["t"] + 1)[1:]  # all but the first time
    report = ingest([bad], store, options=options)
    assert (report.times_replaced, report.fields_written, report.refused_count) == (3, 6, 1)
    assert len(report.kept) == 1
    off = open_store(store)["temperature"].isel(cell=0, level=0).values
    assert np.abs(np.diff(off[:2])) > 0.5


def test_what_is_left_out_is_named_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = temperature()
    for name in ("cape", "cin", "blh", "tcw", "tcwv", "vis"):
        data[name] = data["t"]
    data["v"] = data["t"].assign_attrs(units="m s-1", cell_methods="time: maximum")
    report = ingest([data], tmp_path / "s.zarr", NSIDE)
    show(report)
    said = " ".join(capsys.readouterr().err.split())
    assert "v (maximum over time" in said
    assert "cape, cin, blh, tcw, 2 other variables" in said.replace("others", "other variables")


@pytest.mark.parametrize("key", ["scale_factor", "add_offset"])
@pytest.mark.parametrize("number", [np.nan, 0.0, np.inf])
def test_a_factor_by_which_nothing_can_be_unpacked(key: str, number: float, tmp_path: Path) -> None:
    data = temperature()
    packed = ((data["t"] - 260) / 0.01).round().astype("i2")
    how = {"scale_factor": 0.01, "add_offset": 260.0, key: number}
    data["t"] = packed.assign_attrs(units="K", **how)
    data.to_netcdf(tmp_path / "a.nc")
    said = refusal(tmp_path / "a.nc", tmp_path)
    if (key, number) != ("add_offset", 0.0):
        assert f"t says {key} {number:g}, by which no value can be unpacked" in said


def on(axis: str, values: np.ndarray) -> xr.Dataset:
    return temperature().assign_coords({axis: values})


LAT, LON = np.linspace(90, -90, 37), np.arange(72) * 5.0


@pytest.mark.parametrize(
    ("axis", "values", "message"),
    [
        ("latitude", LAT[[*range(10), 11, 10, *range(12, 37)]], "latitude is not in order (… "),
        ("latitude", np.random.default_rng(0).permutation(LAT), "latitude is not in order (… "),
        ("longitude", LON[[*range(30), 31, 30, *range(32, 72)]], "longitude is not in order (… "),
        ("latitude", np.where(np.arange(37) == 5, -1e100, LAT), "latitude reaches -1e+100 degrees"),
        ("longitude", np.where(np.arange(72) == 5, 9.97e36, LON), "reaches 9.97e+36 degrees"),
        ("latitude", np.rad2deg(np.arcsin(np.linspace(0.99, -0.99, 37))), "Gaussian"),
    ],
)
def test_an_axis_that_is_not_even(
    axis: str, values: np.ndarray, message: str, tmp_path: Path
) -> None:
    assert message in refusal(on(axis, values), tmp_path)


def test_inputs_that_are_not_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "/dev/null is not a file but a device" in refusal(Path("/dev/null"), tmp_path)
    (tmp_path / "link.nc").symlink_to(tmp_path / "gone.nc")
    assert "link.nc is a link to a file that is not there" in refusal(
        tmp_path / "link.nc", tmp_path
    )
    assert "no such file" in refusal(tmp_path / "none.nc", tmp_path)
    (tmp_path / "closed.nc").write_bytes(b"CDF\x01")

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "closed.nc")

    monkeypatch.setattr(Path, "open", denied)
    said = refusal(tmp_path / "closed.nc", tmp_path)
    assert said.endswith("closed.nc cannot be read: permission denied; change its rights")


def test_metadata_that_differ_are_quoted_where_they_differ(tmp_path: Path) -> None:
    data = temperature()
    data["t"].attrs = {"comment": "x" * 200, "long_name": "Temperature", "units": "K"}
    data.to_zarr(tmp_path / "a.zarr", zarr_format=2)
    path = tmp_path / "a.zarr" / "t" / ".zattrs"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"units": "degC"}))
    said = refusal(tmp_path / "a.zarr", tmp_path)
    assert '{"units": "K"} by the consolidated' in said
    assert '{"units": "degC"} by its own' in said


def test_a_complete_store_says_of_what(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    ingest([temperature()], tmp_path / "s.zarr", NSIDE)
    said = command_line(capsys)("inspect", str(tmp_path / "s.zarr")).out
    assert "complete: all fields of its variables; not a state of the published model" in said
    assert "which also has msl, u10, v10, t2m, z, q, u, v, 1000 925 700" in " ".join(said.split())
