"""States on a latitude-longitude grid are regridded once and then mapped into memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pear.errors import InputError
from pear.variables import Layout
from pipelines.training.latlon_dataset import collect_states

LAYOUT = Layout(("mean_sea_level_pressure",), ("temperature",), (500,))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Three days on a grid of 10 degrees: fields that are linear in latitude."""
    lat, lon = np.linspace(90, -90, 19), np.arange(36) * 10.0
    slope = np.broadcast_to(lat[:, None], (19, 36))
    day = np.arange(3)[:, None, None]
    dims = ("time", "latitude", "longitude")
    data = xr.Dataset(
        {
            "msl": (dims, 101_000.0 + slope + 10 * day, {"units": "Pa"}),
            "t": (
                ("time", "level", "latitude", "longitude"),
                (250.0 + 0.1 * slope + day)[:, None],
                {"units": "K"},
            ),
        },
        {
            "time": np.array(["2001-01-01", "2001-01-02", "2001-01-03"], "datetime64[ns]"),
            "level": ("level", [500], {"units": "hPa"}),
            "latitude": lat,
            "longitude": lon,
        },
    )
    path = tmp_path / "era5.nc"
    data.to_netcdf(path)
    return path


def test_fields_are_regridded_and_opened_again_without_the_sources(
    file: Path, tmp_path: Path
) -> None:
    states = collect_states([file], tmp_path / "states", (37, 72), LAYOUT)
    surface, upper = states.read(np.array([2, 0]))
    rows = np.repeat(states.grid.lat, 72)
    np.testing.assert_allclose(surface[0, 0], 101_020.0 + rows, rtol=1e-6)
    np.testing.assert_allclose(upper[1, 0, 0], 250.0 + 0.1 * rows, rtol=1e-6)
    again = collect_states([], tmp_path / "states", (37, 72), LAYOUT)
    np.testing.assert_array_equal(again.fields, states.fields)
    assert again.select("2001-01-02", "2001-01-09").times.size == 2


def test_gaps_and_other_grids_are_refused(file: Path, tmp_path: Path) -> None:
    two = Layout(("mean_sea_level_pressure",), ("temperature",), (500, 850))
    with pytest.raises(InputError, match="lack temperature 850 at 2001-01-01"):
        collect_states([file], tmp_path / "two", (37, 72), two)
    states = collect_states([file], tmp_path / "states", (37, 72), LAYOUT)
    with pytest.raises(InputError, match="has 37 x 72 points, not 19 x 36"):
        collect_states([file], tmp_path / "states", (19, 36), LAYOUT)
    with pytest.raises(InputError, match="no states from 2002"):
        states.select("2002-01-01", "2002-02-01")
