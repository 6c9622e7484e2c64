"""The schema on disk: other tools read the stores as they are."""

from __future__ import annotations

import json
from pathlib import Path

import healpy
import numpy as np
import pytest
import xarray as xr
import xdggs

from pear.sphere.healpix import centres
from pear.store.schema import open_group
from pear.variables import Layout
from pipelines.storage.analysis_writer import AnalysisWriter

NSIDE = 8
LAYOUT = Layout(("2m_temperature",), ("temperature",), (850, 500))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A store of three times."""
    random = np.random.default_rng(3)
    times = np.datetime64("2001-01-01", "s") + np.arange(3) * np.timedelta64(6, "h")
    surface, upper = (random.normal(size=(3, 1, *shape)) for shape in ([768], [2, 768]))
    with AnalysisWriter(tmp_path / "a.zarr", LAYOUT, NSIDE) as writer:
        writer.append(times, surface, upper)
    return tmp_path / "a.zarr"


def test_xdggs_reads_the_cell_that_healpy_names(path: Path) -> None:
    cell = healpy.ang2pix(NSIDE, 18.1, 59.3, nest=True, lonlat=True)
    want = float(np.asarray(open_group(path)["2m_temperature"][2])[cell])
    dataset = xdggs.decode(xr.open_zarr(path, decode_timedelta=True))
    assert dataset.dggs.grid_info.level == 3
    assert dataset.dggs.grid_info.indexing_scheme == "nested"
    found = dataset["2m_temperature"].isel(time=2).dggs.sel_latlon([59.3], [18.1])
    assert float(found.squeeze()) == want
    np.testing.assert_allclose(
        dataset.dggs.cell_centers()["latitude"].values, centres(NSIDE)[0], atol=1e-9
    )


def test_attributes_are_those_that_other_tools_look_for(path: Path) -> None:
    group = open_group(path)
    assert dict(group["cell"].attrs) == {"standard_name": "healpix_index", "units": "1"}
    assert dict(group["cell_ids"].attrs) == {
        "grid_name": "healpix",
        "level": 3,
        "indexing_scheme": "nested",
    }
    assert dict(group["crs"].attrs) == {
        "grid_mapping_name": "healpix",
        "refinement_level": 3,
        "indexing_scheme": "nested",
        "healpix_nside": 8,
        "long_name": "HEALPix grid, cells in nested order",
    }
    assert group["crs"].dtype == np.int32
    assert group["time"].dtype == np.int64
    assert group["time"].attrs["units"] == "seconds since 1970-01-01"
    assert dict(group["level"].attrs) == {
        "standard_name": "air_pressure",
        "units": "hPa",
        "positive": "down",
        "long_name": "pressure level",
        "axis": "Z",
    }
    t2m = dict(group["2m_temperature"].attrs)
    assert t2m["units"] == "K"
    assert t2m["grid_mapping"] == "crs"
    assert json.loads(t2m["ek_grid_spec"]) == {"grid": "H8", "order": "nested"}
    assert dict(group.attrs)["Conventions"] == "CF-1.13"
