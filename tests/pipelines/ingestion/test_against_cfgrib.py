"""A state of GFS as PEAR ingests it, compared with the same file as cfgrib reads it."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy.interpolate import RegularGridInterpolator

from pear.sphere.healpix import centres
from pear.store.reader import open_store
from pear.variables import LEVELS, STANDARD_GRAVITY
from pipelines.ingestion.fetch import fetch, open_source
from pipelines.ingestion.options import IngestOptions
from pipelines.ingestion.sources.transfer import Transfer
from tests.fixtures.replica import serving

CYCLE, NSIDE = np.datetime64("2026-11-25T12:00", "s"), 8
FIELDS = {
    "mean_sea_level_pressure": ("prmsl", "meanSea", 1.0),
    "2m_temperature": ("2t", "heightAboveGround", 1.0),
    "geopotential": ("gh", "isobaricInhPa", STANDARD_GRAVITY),
    "temperature": ("t", "isobaricInhPa", 1.0),
    "specific_humidity": ("q", "isobaricInhPa", 1.0),
    "10m_u_component_of_wind": ("10u", "heightAboveGround", 1.0),
    "10m_v_component_of_wind": ("10v", "heightAboveGround", 1.0),
    "u_component_of_wind": ("u", "isobaricInhPa", 1.0),
    "v_component_of_wind": ("v", "isobaricInhPa", 1.0),
}


def read(file: Path, short: str, kind: str) -> xr.DataArray:
    """Return a field of a file as cfgrib reads it, with levels in the order of PEAR."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of xarray, on how cfgrib merges
        dataset = xr.open_dataset(
            file,
            engine="cfgrib",
            backend_kwargs={
                "filter_by_keys": {"shortName": short, "typeOfLevel": kind},
                "indexpath": "",
            },
        )
    (array,) = dataset.data_vars.values()
    assert array["valid_time"].values == CYCLE
    return array.sel(isobaricInhPa=list(LEVELS)) if kind == "isobaricInhPa" else array


def interpolate(array: xr.DataArray) -> np.ndarray:
    """Interpolate to the cells of the store by SciPy, (…, cell)."""
    axes = (array["latitude"].values[::-1], np.append(array["longitude"].values, 360.0))
    values = np.moveaxis(array.values.astype("f8"), (-2, -1), (0, 1))[::-1]
    wrapped = np.concatenate([values, values[:, :1]], axis=1)
    lat, lon = centres(NSIDE)
    return np.moveaxis(
        RegularGridInterpolator(axes, wrapped)(np.stack([lat, lon % 360], -1)), 0, -1
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[xr.Dataset, Path]:
    """Return the ingested state and the file that it came from."""
    folder = tmp_path_factory.mktemp("gfs")
    with serving() as replica:
        path = replica.add_gfs(CYCLE)
        transfer = Transfer()
        source = open_source("gfs", transfer, replica.url)
        options = IngestOptions(nside=NSIDE, reserve_bytes=0)
        (_,) = fetch(
            source, np.array([CYCLE]), folder / "gfs.zarr", options=options, transfer=transfer
        )
    (folder / "gfs.grib2").write_bytes(replica.files[path])
    with open_store(folder / "gfs.zarr") as dataset:
        return dataset.isel(time=0).load(), folder / "gfs.grib2"


@pytest.mark.parametrize("name", FIELDS)
def test_each_field_equals_what_cfgrib_reads(name: str, both: tuple[xr.Dataset, Path]) -> None:
    pytest.importorskip("cfgrib")
    state, file = both
    short, kind, factor = FIELDS[name]
    wanted = factor * interpolate(read(file, short, kind))
    got = state[name].sel(level=list(LEVELS)) if "level" in state[name].dims else state[name]
    assert got.shape == wanted.shape
    spread = np.ptp(wanted, axis=-1, keepdims=True)
    error = np.abs(got.values - wanted) / (spread + np.abs(wanted))
    # PEAR makes one wind of the row at a pole, see pear.sphere.pole_rows.
    next_to_poles = (np.abs(centres(NSIDE)[0]) > 80) & name.endswith("component_of_wind")
    assert error[..., ~next_to_poles].max() < 2e-6
    assert error.max() < 1e-3


def test_no_variable_is_left_out(both: tuple[xr.Dataset, Path]) -> None:
    fields = {str(name) for name, array in both[0].data_vars.items() if "cell" in array.dims}
    assert fields == set(FIELDS)
