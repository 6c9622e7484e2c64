"""Monthly files come back within their packing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pear.variables import LEVELS
from pipelines.simulation import files


def test_files_come_back_within_their_packing_and_say_they_are_simulated(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lat, lon = np.linspace(-90, 90, 9), np.arange(16) * 22.5
    shapes = {"msl": (2, 9, 16), "z": (2, 13, 9, 16), "q": (2, 13, 9, 16)}
    scale = {"msl": (101_000.0, 500.0), "z": (50_000.0, 9000.0), "q": (3e-3, 5e-4)}
    fields = {
        name: (scale[name][0] + scale[name][1] * rng.standard_normal(shape)).astype(np.float32)
        for name, shape in shapes.items()
    }
    times = np.array(["2006-12-31", "2007-01-01"], dtype="datetime64[s]")
    path = tmp_path / "x.nc"
    files.write(path, times, files.Grid(lat, lon), fields, {"simulated": "true"}, files.COARSE)
    with xr.open_dataset(path) as back:
        assert back.attrs["simulated"] == "true"
        assert back["latitude"].values[0] == 90.0
        assert back["pressure_level"].values.tolist() == list(LEVELS)
        np.testing.assert_array_equal(back["valid_time"].values.astype("datetime64[s]"), times)
        for name, values in fields.items():
            got = back[name].values[..., ::-1, :]
            if name == "q":  # seven mantissa bits
                np.testing.assert_allclose(got, values, rtol=2.0**-8)
            else:
                np.testing.assert_allclose(got, values, atol=0.51 * files.COARSE.step[name])
    assert not list(tmp_path.glob(".x*"))


def test_values_too_wide_to_pack_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    fields = {"msl": np.full((1, 9, 16), 1e7, np.float32)}
    times = np.array(["2006-12-31"], dtype="datetime64[s]")
    grid = files.Grid(np.linspace(-90, 90, 9), np.arange(16) * 22.5)
    with pytest.raises(ValueError, match="too wide to pack"):
        files.write(tmp_path / "x.nc", times, grid, fields, {})
    assert not list(tmp_path.iterdir())
