"""Derived quantities of Datasets: winds, humidity, thickness, and derivatives on the sphere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

import pear
from pear.derived import derive, find_derived, parse_quantity
from pear.derived.formulas import EARTH_RADIUS
from pear.errors import InputError
from pear.sphere.healpix import centres, curl_and_divergence
from pear.store.dataset import build_dataset
from pear.variables import STANDARD_GRAVITY, derived_rows

Wind = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def solid_body(lat: np.ndarray, lon: np.ndarray) -> Wind:
    """Rotation about an axis tilted by 40 degrees: u, v, vorticity, divergence on a unit sphere."""
    tilt = np.deg2rad(40.0)
    u = np.cos(lat) * np.cos(tilt) + np.sin(lat) * np.cos(lon) * np.sin(tilt)
    v = -np.sin(lon) * np.sin(tilt)
    axis = np.sin(lat) * np.cos(tilt) - np.cos(lat) * np.cos(lon) * np.sin(tilt)
    return u, v, 2.0 * axis, 0.0 * lat


def rossby_haurwitz(lat: np.ndarray, lon: np.ndarray) -> Wind:
    """Wave number 4 of Williamson et al. (1992, test case 6), omega = K = 1."""
    s, c, r = np.sin(lat), np.cos(lat), 4
    u = c + c ** (r - 1) * (r * s**2 - c**2) * np.cos(r * lon)
    v = -r * c ** (r - 1) * s * np.sin(r * lon)
    return u, v, 2 * s - s * c**r * (r**2 + 3 * r + 2) * np.cos(r * lon), 0.0 * lat


def potential_flow(lat: np.ndarray, lon: np.ndarray) -> Wind:
    """Gradient of cos³(lat) cos(3 lon), of degree 3: the divergence is -12 times that."""
    s, c = np.sin(lat), np.cos(lat)
    u, v = -3 * c**2 * np.sin(3 * lon), -3 * c**2 * s * np.cos(3 * lon)
    return u, v, 0.0 * lat, -12 * c**3 * np.cos(3 * lon)


@pytest.mark.parametrize("nside", [16, 32, 64])
@pytest.mark.parametrize("flow", [solid_body, rossby_haurwitz, potential_flow])
def test_vorticity_and_divergence_are_exact(
    flow: Callable[[np.ndarray, np.ndarray], Wind], nside: int
) -> None:
    u, v, vorticity, divergence = flow(*np.deg2rad(centres(nside)))
    found = curl_and_divergence(u, v)
    scale = max(np.abs(vorticity).max(), np.abs(divergence).max())
    assert np.abs(found[0] - vorticity).max() < 1e-5 * scale
    assert np.abs(found[1] - divergence).max() < 1e-5 * scale


def test_derivatives_refuse_missing_values() -> None:
    u = np.full(48, 1.0)
    u[3] = np.nan
    with pytest.raises(ValueError, match="finite"):
        curl_and_divergence(u, np.zeros(48))


def dataset() -> xr.Dataset:
    lat, lon = np.deg2rad(centres(8))
    u, v, _, _ = solid_body(lat, lon)
    shape, levels = (2, 2, lat.size), [500, 1000]
    full = {
        "u_component_of_wind": np.broadcast_to(20.0 * u, shape),
        "v_component_of_wind": np.broadcast_to(20.0 * v, shape),
        "temperature": np.broadcast_to(np.array([250.0, 290.0])[:, None], shape),
        "specific_humidity": np.broadcast_to(np.array([1e-3, 1e-2])[:, None], shape),
        "geopotential": np.broadcast_to(np.array([54_000.0, 1_000.0])[:, None], shape),
        "10m_u_component_of_wind": np.broadcast_to(3.0 + 0 * u, (2, lat.size)),
        "10m_v_component_of_wind": np.broadcast_to(4.0 + 0 * v, (2, lat.size)),
    }
    times = np.array(["2001-01-01", "2001-01-02"], "datetime64[s]")
    return build_dataset({k: v.astype("f4") for k, v in full.items()}, levels, times)


def test_quantities_of_a_dataset() -> None:
    data = dataset()
    assert np.allclose(derive(data, "10m_wind_speed"), 5.0)
    assert np.allclose(derive(data, "thickness_1000_500"), 53_000.0 / STANDARD_GRAVITY)
    assert np.allclose(derive(data, "thickness500-1000"), 53_000.0 / STANDARD_GRAVITY)
    assert np.allclose(derive(data, "pt500"), 250.0 * 2 ** (2 / 7))
    lat = np.deg2rad(centres(8))
    expected = 20.0 * solid_body(*lat)[2] / EARTH_RADIUS
    found = data.pear.derive("vo1000")
    assert found.dims == ("time", "cell")
    assert int(found["level"]) == 1000
    assert np.abs(found.values - expected).max() < 1e-3 * np.abs(expected).max()
    assert found.attrs["standard_name"] == "atmosphere_relative_vorticity"


def test_lazy_datasets_stay_lazy_and_levels_are_not_confused() -> None:
    data = dataset().chunk({"time": 1, "level": 1})
    lazy = derive(data, "r1000")
    assert lazy.chunks is not None
    assert np.allclose(lazy, derive(dataset(), "r1000"))
    assert not np.allclose(lazy, derive(data, "r500"))


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("wind_speed", "needs a level"),
        ("vo850", "no 850 hPa"),
        ("ws_10m", "unknown variable"),
        ("thickness_850_500", "no 850 hPa"),
        ("2m_relative_humidity", "needs 2m_dewpoint_temperature and 2m_temperature"),
        ("10m_wind_speed_850", "has no level 850"),
    ],
)
def test_what_cannot_be_derived_is_named(field: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        derive(dataset(), field)


def test_a_spread_has_no_wind_speed() -> None:
    data = dataset().assign_attrs(pear_statistic="spread")
    with pytest.raises(InputError, match="statistic of an ensemble"):
        derive(data, "ws500")


def test_every_row_has_a_recipe_and_no_name_of_a_variable() -> None:
    for name, row in derived_rows().items():
        found = find_derived(name)
        assert found is not None
        assert found.row == row
        for alias in (row.short_name, *row.aliases):
            level = "" if row.kind == "surface" else "850"
            assert parse_quantity(alias + level)[0] == row, alias


def test_maps_draw_derived_quantities() -> None:
    pytest.importorskip("cartopy")
    import matplotlib as mpl

    mpl.use("Agg")
    axes = pear.plot(pear.sample_analysis(nside=4), "ws250", time="2006-11-01")
    assert axes.get_title().startswith("Wind speed at 250 hPa")


@pytest.mark.parametrize(
    ("text", "closest"), [("vortcity500", "vorticity"), ("wnd_speed250", "wind_speed")]
)
def test_an_unknown_name_gets_the_closest_derived_one(text: str, closest: str) -> None:
    with pytest.raises(InputError, match=rf"unknown variable .*did you mean {closest}\?"):
        parse_quantity(text)
