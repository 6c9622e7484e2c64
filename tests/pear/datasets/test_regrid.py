"""Regridding of Datasets: any convention in, the schema of the stores out, and back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

from pear.datasets.latlon import to_latlon
from pear.datasets.regrid import is_healpix, regrid
from pear.errors import InputError
from pear.sphere.healpix import centres

TIMES = np.array(["2019-01-01T00", "2019-01-01T06"], "datetime64[ns]")
LEVELS = [500.0, 850.0]


def smooth(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """A smooth scalar on a mesh of latitudes and longitudes in degrees."""
    y, x = np.radians(lat), np.radians(lon)
    return np.sin(y) + 0.3 * np.cos(y) * np.cos(x)


def dataset(step: float = 3.0) -> xr.Dataset:
    lat, lon = np.arange(90, -90 - step / 2, -step), np.arange(0, 360, step)
    field = smooth(*np.meshgrid(lat, lon, indexing="ij"))
    scale = np.arange(1, 3)[:, None, None]  # differs by time
    by_level = scale[:, None] + 0.5 * np.arange(2)[:, None, None]
    coords = {"time": TIMES, "level": LEVELS, "latitude": lat, "longitude": lon}
    upper = ("time", "level", "latitude", "longitude")
    surface = ("time", "latitude", "longitude")
    return xr.Dataset(
        {
            "temperature": (upper, 250 + 5 * by_level * field, {"units": "K"}),
            "2m_temperature": (surface, 280 + 10 * scale * field, {"units": "K"}),
            "10m_u_component_of_wind": (surface, 3 * scale * field, {"units": "m s-1"}),
            "10m_v_component_of_wind": (surface, 2 * scale * field, {"units": "m s-1"}),
        },
        coords,
    )


@pytest.fixture(scope="module")
def plain() -> xr.Dataset:
    return regrid(dataset(), 8).load()


def test_values_are_those_of_the_function(plain: xr.Dataset) -> None:
    want = 280 + 10 * smooth(*centres(8))
    np.testing.assert_allclose(plain["2m_temperature"].isel(time=0), want, atol=0.02)
    assert plain["temperature"].dims == ("time", "level", "cell")
    assert plain["level"].values.tolist() == [500, 850]
    assert plain["time"].dtype == "datetime64[s]"
    assert is_healpix(plain)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.assign_coords(longitude=(d["longitude"] + 180) % 360 - 180).sortby("longitude"),
        lambda d: d.isel(latitude=slice(None, None, -1)),
        lambda d: d.isel(level=[1, 0], time=[1, 0]),
        lambda d: d.transpose("longitude", "level", "latitude", "time"),
        lambda d: d.rename(time="valid_time", latitude="lat", longitude="lon", level="plev"),
        lambda d: d.rename({"temperature": "t", "2m_temperature": "t2m"}),
        lambda d: d.rename({"temperature": "ta", "10m_u_component_of_wind": "uas"}),
        lambda d: d.assign_coords(level=("level", d["level"].values * 100, {"units": "Pa"})),
        lambda d: d.assign(
            {"2m_temperature": (d["2m_temperature"] - 273.15).assign_attrs(units="degC")}
        ),
        lambda d: d.assign(unknown=d["2m_temperature"].rename("unknown") * 0),
        lambda d: d.chunk({"time": 1}),
        lambda d: d.drop_vars("temperature").assign(
            t500=d["temperature"].sel(level=500, drop=True),
            t850=d["temperature"].sel(level=850, drop=True),
        ),
    ],
)
def test_conventions_do_not_matter(
    plain: xr.Dataset, change: Callable[[xr.Dataset], xr.Dataset]
) -> None:
    got = regrid(change(dataset()), 8)
    assert list(got.data_vars) == list(plain.data_vars)
    for name in plain.data_vars:
        np.testing.assert_allclose(got[name].values, plain[name].values, rtol=0, atol=2e-4)


def test_fields_are_read_when_they_are_used() -> None:
    data = dataset()
    data["temperature"][1] = np.nan
    cells = regrid(data, 4)
    assert np.isfinite(cells["temperature"].isel(time=0)).all()
    with pytest.raises(InputError, match=r"temperature at 500 hPa at 2019-01-01T06.*not finite"):
        cells["temperature"].isel(time=1).load()


def test_indexing_of_lazy_fields(plain: xr.Dataset) -> None:
    lazy = regrid(dataset(), 8)["temperature"]
    for index in (
        {"time": 0},
        {"time": [1, 0], "level": 1},
        {"cell": slice(3, 9), "level": slice(0, 1)},
        {"time": slice(0, 0)},
        {"time": [], "cell": [5]},
        {"cell": [7, 2]},
    ):
        xr.testing.assert_equal(lazy.isel(index), plain["temperature"].isel(index))


def test_relative_humidity_becomes_specific() -> None:
    data = dataset().drop_vars(
        ["2m_temperature", "10m_u_component_of_wind", "10m_v_component_of_wind"]
    )
    wet = (50 + 0.1 * (data["temperature"] - 250)).assign_attrs(units="%")
    cells = regrid(data.assign(r=wet), 4)
    assert set(cells.data_vars) == {"temperature", "specific_humidity"}
    q = cells["specific_humidity"].values
    assert (q > 0).all()
    assert q.max() < 0.01
    alone = regrid(xr.Dataset({"r": wet}), 4)
    with pytest.raises(InputError, match="no temperature at this level and time"):
        alone.load()


def test_levels_and_members_are_chosen() -> None:
    assert regrid(dataset(), 4, levels=[850])["level"].values.tolist() == [850]
    many = dataset().expand_dims(number=[0, 1]).copy(deep=True)
    many["2m_temperature"][1] += 5
    with pytest.raises(InputError, match="2 ensemble members"):
        regrid(many, 4)
    warmer = (
        regrid(many, 4, member=1)["2m_temperature"] - regrid(many, 4, member=0)["2m_temperature"]
    )
    np.testing.assert_allclose(warmer, 5, atol=1e-3)


@pytest.mark.parametrize(
    ("dim", "names", "member"),
    [
        ("member", ["cf", "pf1"], "PF1"),
        ("realisation", [b"r1i1p1f1", b"r2i1p1f1"], "r2i1p1f1"),
        ("number", [0.0, np.nan], "nan"),
        ("ens", ["00", "01"], 1),
        ("ensemble", [10, 30], "30"),
    ],
)
def test_members_have_names(dim: str, names: list[object], member: int | str) -> None:
    many = dataset()[["2m_temperature"]].expand_dims({dim: names}).copy(deep=True)
    many["2m_temperature"][1] += 5
    first = regrid(many.isel({dim: [0]}), 4)["2m_temperature"]
    np.testing.assert_allclose(
        regrid(many, 4, member=member)["2m_temperature"] - first, 5, atol=1e-3
    )
    with pytest.raises(InputError, match="does not have ensemble member 7; available members: "):
        regrid(many, 4, member="7")


def test_a_member_that_comes_twice_is_not_chosen() -> None:
    many = dataset().expand_dims(number=["cf", "cf", "pf1"])
    with pytest.raises(InputError, match=r"has ensemble member cf 2 times \(cf, cf, pf1\)"):
        regrid(many, 4, member="cf")


def test_conservative_keeps_the_global_mean() -> None:
    data = dataset()
    weight = np.cos(np.radians(data["latitude"]))
    want = data["2m_temperature"].weighted(weight).mean(("latitude", "longitude"))
    got = regrid(data, 8, method="conservative")["2m_temperature"].mean("cell")
    np.testing.assert_allclose(got, want, atol=5e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.isel(latitude=slice(0, 20)), "does not cover the globe"),
        (lambda d: d.drop_vars("time"), "no time"),
        (lambda d: d.drop_vars("latitude"), "no latitude"),
        (lambda d: d[["temperature"]].rename(temperature="salinity"), "no variable of PEAR"),
        (lambda d: d.assign(t2m=d["2m_temperature"]), "2m_temperature at .* is given twice"),
        (
            lambda d: d.assign({"2m_temperature": d["2m_temperature"].assign_attrs(units="mol")}),
            "'mol'",
        ),
    ],
)
def test_refusals(change: Callable[[xr.Dataset], xr.Dataset], message: str) -> None:
    with pytest.raises(InputError, match=message):
        regrid(change(dataset()), 4)


def test_to_latlon_is_the_inverse(plain: xr.Dataset) -> None:
    back = to_latlon(plain, step=3)
    want = dataset()
    assert back["temperature"].dims == ("time", "level", "latitude", "longitude")
    assert "cell_ids" not in back.coords
    np.testing.assert_allclose(back["latitude"], want["latitude"])
    np.testing.assert_allclose(
        back["2m_temperature"], want["2m_temperature"], atol=0.6, err_msg="interpolated twice"
    )
    again = regrid(back, 8)
    np.testing.assert_allclose(again["2m_temperature"], plain["2m_temperature"], atol=0.6)
    lazy = to_latlon(plain.chunk({"time": 1}), step=3)
    assert lazy["temperature"].chunks is not None
    xr.testing.assert_equal(lazy.compute(), back)


def test_to_latlon_refusals(plain: xr.Dataset) -> None:
    with pytest.raises(InputError, match="does not divide 180"):
        to_latlon(plain, step=7)
    with pytest.raises(InputError, match="not on nested HEALPix cells"):
        to_latlon(dataset())
