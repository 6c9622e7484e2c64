"""Static fields: found in files, kept by a store, read by a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pear.errors import InputError
from pear.sphere.healpix import centres
from pear.store.reader import open_store
from pear.store.static_fields import read_static_fields
from pipelines.ingestion.ingest import ingest
from pipelines.storage.check import check_store
from tests.fixtures.ingestion import nearly

NSIDE = 16


def pressure(
    day: str, lsm: bool = True, scale: float = 1.0, units: str = "m**2 s**-2"
) -> xr.Dataset:
    """Return one day of pressure, with a hill of 2000 m at 40° N, 90° E on square land."""
    lat, lon = np.linspace(90, -90, 37), np.arange(72) * 5.0
    east, north = np.meshgrid(lon, lat)
    hill = 2000.0 * np.exp(-(((north - 40) / 20) ** 2) - ((east - 90) / 30) ** 2)
    day_axes, axes = ("time", "latitude", "longitude"), ("latitude", "longitude")
    fields = {
        "msl": (day_axes, nearly(101_300.0 + scale, (1, 37, 72)).astype("f4"), {"units": "Pa"}),
        "z": (day_axes, (scale * hill)[None], {"units": units}),
    }
    if lsm:
        inside = (np.abs(north - 40) < 30) & (np.abs(east - 90) < 40)
        fields["lsm"] = (axes, inside.astype("f4"), {"units": "(0 - 1)"})
    return xr.Dataset(
        fields, {"time": [np.datetime64(day, "ns")], "latitude": lat, "longitude": lon}
    )


def test_ground_and_land_are_kept_and_survive_later_times(tmp_path: Path) -> None:
    store = tmp_path / "a.zarr"
    assert read_static_fields(None, NSIDE)["orography"].max() > 3000
    report = ingest([pressure("2001-01-01", scale=9.80665)], store, NSIDE)
    assert report.static == ["geopotential_at_surface", "land_sea_mask"]
    assert ingest([pressure("2001-01-02", scale=9.0)], store, NSIDE).static == []
    assert list(open_store(store).data_vars) == ["mean_sea_level_pressure"]
    assert open_store(store).sizes["time"] == 2
    assert check_store(store).is_healthy

    lat, lon = centres(NSIDE)
    kept = read_static_fields(store, NSIDE)
    top = int(np.argmax(kept["orography"]))
    assert kept["orography"][top] == pytest.approx(2000.0, rel=0.03)
    assert (abs(lat[top] - 40) < 5, abs(lon[top] - 90) < 5) == (True, True)
    inside = (np.abs(lat - 40) < 20) & (np.abs(lon - 90) < 30)
    assert kept["land_fraction"][inside].min() == pytest.approx(1.0)
    assert kept["land_fraction"][lat < -10].max() == 0.0
    coarse = read_static_fields(store, NSIDE // 2)["orography"]
    np.testing.assert_allclose(coarse, kept["orography"].reshape(-1, 4).mean(axis=-1))
    finer, idealised = (read_static_fields(path, 2 * NSIDE) for path in (store, None))
    np.testing.assert_array_equal(finer["orography"], idealised["orography"])


def test_metres_become_geopotential_and_missing_fields_come_from_the_package(
    tmp_path: Path,
) -> None:
    store = tmp_path / "a.zarr"
    file = tmp_path / "a.nc"
    pressure("2001-01-01", lsm=False, units="m").rename(z="orog").to_netcdf(file)
    assert ingest([file], store, NSIDE).static == ["geopotential_at_surface"]
    kept = read_static_fields(store, NSIDE)
    assert kept["orography"].max() == pytest.approx(2000.0, rel=0.03)
    np.testing.assert_array_equal(
        kept["land_fraction"], read_static_fields(None, NSIDE)["land_fraction"]
    )


def test_impossible_values_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="geopotential_at_surface has values from"):
        ingest([pressure("2001-01-01", scale=1e3)], tmp_path / "a.zarr", NSIDE)


def changed(name: str, values: np.ndarray | float, **attributes: str) -> xr.Dataset:
    """Return the day of pressure with other values of a static field."""
    data = pressure("2001-01-01", scale=9.80665)
    data["z"].attrs["long_name"] = "surface geopotential"
    field = data[name]
    return data.assign({name: (field * 0 + values).assign_attrs(field.attrs | attributes)})


RAMP = np.linspace(-10.0, 40_000.0, 72)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("lsm", 1.0, r"land_sea_mask has one value everywhere \(1\)"),
        ("lsm", 0.0, r"land_sea_mask has one value everywhere \(0\)"),
        ("lsm", np.where(np.arange(72) < 30, 0.37, 1.0), r"one value \(0.37\) on 42 % of"),
        ("z", np.where(np.arange(72) < 30, 777.0, RAMP), r"one value \(777\) on 42 % of the"),
        ("z", np.where(np.arange(72) < 2, 90_000.0, RAMP), r"90000 at 74 points, far from all"),
    ],
)
def test_fields_that_the_earth_does_not_have(
    name: str, values: np.ndarray | float, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        ingest([changed(name, values)], tmp_path / "a.zarr", NSIDE)
    assert list(tmp_path.iterdir()) == []
    idealised = changed(name, values).assign_attrs(idealised="true")
    ingest([idealised], tmp_path / "a.zarr", NSIDE)


def test_declared_gaps_of_a_mask(tmp_path: Path) -> None:
    data = changed("lsm", np.where(np.arange(72) < 30, 0.25, np.linspace(0, 1, 72)))
    data["lsm"].attrs["missing_value"] = "0.25"
    with pytest.raises(InputError, match=r"lsm has 1110 of 2664 values missing \(missing_value"):
        ingest([data], tmp_path / "a.zarr", NSIDE)


def test_a_sea_that_packing_moved_is_sea(tmp_path: Path) -> None:
    hills = np.where(np.arange(72) < 50, 6.2, np.linspace(100.0, 30_000.0, 72))
    assert "geopotential_at_surface" in ingest([changed("z", hills)], tmp_path / "a", NSIDE).static


def test_real_surface_geopotential(shared: Path, tmp_path: Path) -> None:
    real = shared / "data/static/eraint_geopotential_sfc_0p75.nc"
    store = tmp_path / "a.zarr"
    weather = pressure("2001-01-01", lsm=False).drop_vars("z")
    assert ingest([weather, real], store, NSIDE).static == ["geopotential_at_surface"]
    got, wanted = (
        read_static_fields(store, NSIDE)["orography"],
        read_static_fields(None, NSIDE)["orography"],
    )
    assert 4000 < got.max() < 6000
    assert np.corrcoef(got, wanted)[0, 1] > 0.7
