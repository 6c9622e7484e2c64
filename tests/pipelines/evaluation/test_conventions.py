"""Every kind of store, written by xarray alone as a NetCDF file, before the real CF checker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from pear import to_latlon
from pear.store import schema
from pear.variables import PROBABILITY, STATISTIC
from pipelines.evaluation.climatology import build_climatology
from pipelines.evaluation.evaluate import Evaluation
from pipelines.evaluation.scores import FILE, write_scores
from pipelines.storage.forecast_writer import ForecastWriter
from tests.fixtures.cf_checker import OF_INIT_TIMES, OF_THE_GRID, find_errors
from tests.fixtures.evaluation import LAYOUT, NSIDE

FORECASTS: dict[str, dict[str, Any]] = {
    "a forecast": {"options": {"members": 3}},
    "a mean": {schema.CELL_METHODS: "realization: mean"},
    "a spread": {STATISTIC: "spread", schema.CELL_METHODS: "realization: standard_deviation"},
    "a quantile": {STATISTIC: "10 % quantile"},
    "a probability": {PROBABILITY: "more than 280 K"},
}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory, paths: tuple[Path, Path]) -> dict[str, Path]:
    """One store of each kind."""
    folder = tmp_path_factory.mktemp("conventions")
    found = {"an analysis": paths[0], "a climatology": folder / "packed.zarr"}
    build_climatology(paths[0].with_name("train.zarr"), folder / "packed.zarr", spread=True)
    leads = np.arange(2) * np.timedelta64(6, "h")
    for name, attributes in FORECASTS.items():
        path = folder / f"{name}.zarr"
        init = np.datetime64("2001-01-01", "s")
        writer = ForecastWriter(path, LAYOUT, NSIDE, init, leads, attributes)
        shapes = (len(LAYOUT.surface),), (len(LAYOUT.upper), len(LAYOUT.levels))
        for index in range(leads.size):
            writer.write_step(index, *(np.full((*s, 12 * NSIDE**2), 0.5) for s in shapes))
        found[name] = writer.publish()
    return found


@pytest.mark.parametrize("kind", ["an analysis", "a climatology", *FORECASTS])
def test_xarray_writes_every_store_as_netcdf_without_errors(
    stores: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    dataset = xr.open_zarr(stores[kind], decode_timedelta=True)
    if "time" in dataset.dims:
        dataset = dataset.isel(time=slice(0, 2))
    dataset.to_netcdf(tmp_path / "a.nc")
    known = OF_THE_GRID + (OF_INIT_TIMES if kind in FORECASTS else ())
    assert find_errors(tmp_path / "a.nc", tmp_path / "report.json", known) == []
    with xr.open_dataset(tmp_path / "a.nc", decode_timedelta=True) as back:
        xr.testing.assert_equal(back.load(), dataset.load())


@pytest.mark.parametrize("kind", ["an analysis", *FORECASTS])
def test_on_latitudes_and_longitudes_no_error_is_known(
    stores: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    dataset = xr.open_zarr(stores[kind], decode_timedelta=True).isel(time=slice(0, 1)).load()
    dataset = dataset.drop_vars("u_component_of_wind")  # its partner is not there
    to_latlon(dataset, 30).to_netcdf(tmp_path / "a.nc")
    known = OF_INIT_TIMES if kind in FORECASTS else ()
    assert find_errors(tmp_path / "a.nc", tmp_path / "report.json", known) == []


def test_the_scores_of_an_evaluation_have_no_errors(evaluation: Evaluation, tmp_path: Path) -> None:
    write_scores(evaluation.scores, tmp_path / FILE)
    assert find_errors(tmp_path / FILE, tmp_path / "report.json", OF_INIT_TIMES) == []
