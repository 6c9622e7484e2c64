"""The accessor ``.pear``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import pear
from pear.errors import InputError
from pear.sphere.healpix import cell_of
from pear.state import State
from pear.variables import Layout

LAYOUT = Layout(("2m_temperature",), ("geopotential",), (850, 500))


@pytest.fixture(scope="module")
def state() -> State:
    rng = np.random.default_rng(0)
    surface = 280 + rng.normal(size=(2, 1, 768))
    upper = 5e4 + rng.normal(size=(2, 1, 2, 768))
    return State.from_arrays(surface, upper, ["2019-01-01", "2019-01-02"], LAYOUT)


@pytest.fixture(scope="module")
def data(state: State) -> xr.Dataset:
    assert pear.State is State
    return state.to_xarray()


def test_state_and_dataset_are_inverse(state: State, data: xr.Dataset) -> None:
    back = data.pear.to_state()
    assert back.layout == data.pear.layout == LAYOUT
    assert torch.equal(back.surface, state.surface)
    assert torch.equal(back.upper, state.upper)
    assert np.array_equal(back.valid_time, state.valid_time)
    one = data.pear.to_state("2019-01-02", Layout((), ("geopotential",), (500,)), nside=4)
    assert one.upper.shape == (1, 1, 1, 192)
    assert data["level"].values.tolist() == [500, 850]


def test_points(data: xr.Dataset) -> None:
    nearest = data.pear.sel_point(60.2, 24.9 - 360)
    cell = int(cell_of([60.2], [24.9], 8)[0])
    assert "cell" not in nearest.dims
    assert np.array_equal(nearest["geopotential"], data["geopotential"].isel(cell=cell))
    between = data.pear.sel_point(60.2, 24.9, method="bilinear")
    assert between["2m_temperature"].dims == ("time",)
    assert between["2m_temperature"].attrs["units"] == "K"
    assert abs(between["2m_temperature"] - 280).max() < 4
    with pytest.raises(InputError, match="latitude 95"):
        data.pear.sel_point(95, 0)
    with pytest.raises(InputError, match="unknown method 'cubic'"):
        data.pear.sel_point(0, 0, method="cubic")


def test_latlon(data: xr.Dataset) -> None:
    assert dict(data.pear.to_latlon(10).sizes)["latitude"] == 19


def test_netcdf_files(data: xr.Dataset, tmp_path: Path) -> None:
    data.pear.to_netcdf(tmp_path / "state.nc")
    with xr.open_dataset(tmp_path / "state.nc") as back:
        assert json.loads(back.attrs["libraries"])["python"]
        assert np.array_equal(back["geopotential"], data["geopotential"])


def test_other_grids_have_no_accessor() -> None:
    with pytest.raises(InputError, match="needs a Dataset on HEALPix"):
        _ = xr.Dataset({"a": ("x", [1.0])}).pear
